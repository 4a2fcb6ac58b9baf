public import JSON

/// Any Kubernetes object, as its JSON tree with typed access to what all kinds share.
///
/// Controllers read and write objects through this view, so fields that this version does not know survive a
/// round trip. A room that keeps many objects decodes them to compact values of its own (`APIDecodable`).
public struct KubeObject: Hashable, Sendable {
    public var json: JSONValue

    public init(json: JSONValue) { self.json = json }

    /// A new object with its type and place filled in; `namespace` "" for cluster-scoped kinds.
    public init(apiVersion: String, kind: String, namespace: String = "", name: String = "") {
        var metadata = JSONObject()
        if !name.isEmpty { metadata["name"] = .string(name) }
        if !namespace.isEmpty { metadata["namespace"] = .string(namespace) }
        json = ["apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": .object(metadata)]
    }

    public var apiVersion: String { json["apiVersion"]?.string ?? "" }
    public var kind: String { json["kind"]?.string ?? "" }
    public var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

    public var name: String {
        get { self[metadata: "name"] ?? "" }
        set { self[metadata: "name"] = newValue }
    }
    public var namespace: String {
        get { self[metadata: "namespace"] ?? "" }
        set { self[metadata: "namespace"] = newValue }
    }
    public var generateName: String? {
        get { self[metadata: "generateName"] }
        set { self[metadata: "generateName"] = newValue }
    }
    public var uid: String { self[metadata: "uid"] ?? "" }
    public var resourceVersion: String {
        get { self[metadata: "resourceVersion"] ?? "" }
        set { self[metadata: "resourceVersion"] = newValue.isEmpty ? nil : newValue }
    }
    /// RFC 3339 text; nil before the server has set it.
    public var creationTimestamp: String? { self[metadata: "creationTimestamp"] }
    /// RFC 3339 text; set once deletion was asked for and finalizers or a grace period hold the object.
    public var deletionTimestamp: String? { self[metadata: "deletionTimestamp"] }
    public var isTerminating: Bool { deletionTimestamp != nil }
    /// Seconds.
    public var deletionGracePeriodSeconds: Int64? { json["metadata"]?["deletionGracePeriodSeconds"]?.int }
    public var generation: Int64 { json["metadata"]?["generation"]?.int ?? 0 }

    public var labels: [String: String] {
        get { json["metadata"]?["labels"]?.stringMap ?? [:] }
        set { setMetadata("labels", newValue.isEmpty ? nil : JSONValue(stringMap: newValue)) }
    }
    public var annotations: [String: String] {
        get { json["metadata"]?["annotations"]?.stringMap ?? [:] }
        set { setMetadata("annotations", newValue.isEmpty ? nil : JSONValue(stringMap: newValue)) }
    }
    /// One label without building a dictionary of all.
    public func label(_ key: String) -> String? { json["metadata"]?["labels"]?[key]?.string }
    /// One annotation without building a dictionary of all.
    public func annotation(_ key: String) -> String? { json["metadata"]?["annotations"]?[key]?.string }

    public var finalizers: [String] {
        get { json["metadata"]?["finalizers"]?.array?.compactMap(\.string) ?? [] }
        set { setMetadata("finalizers", newValue.isEmpty ? nil : .array(newValue.map(JSONValue.string))) }
    }
    public var ownerReferences: [OwnerReference] {
        get { json["metadata"]?["ownerReferences"]?.array?.map(OwnerReference.init(json:)) ?? [] }
        set { setMetadata("ownerReferences", newValue.isEmpty ? nil : .array(newValue.map(\.json))) }
    }
    /// The owner that manages this object, if one does.
    public var controller: OwnerReference? { ownerReferences.first(where: \.isController) }

    public var spec: JSONValue {
        get { json["spec"] ?? .null }
        set { json["spec"] = newValue }
    }
    public var status: JSONValue {
        get { json["status"] ?? .null }
        set { json["status"] = newValue }
    }

    private subscript(metadata field: String) -> String? {
        get { json["metadata"]?[field]?.string }
        set { setMetadata(field, newValue.map(JSONValue.string)) }
    }

    private mutating func setMetadata(_ field: String, _ value: JSONValue?) {
        var metadata = json["metadata"] ?? .object(JSONObject())
        metadata[field] = value
        json["metadata"] = metadata
    }
}

/// One entry of `metadata.ownerReferences`.
public struct OwnerReference: Hashable, Sendable {
    public var apiVersion: String
    public var kind: String
    public var name: String
    public var uid: String
    /// At most one reference of an object is the controller.
    public var isController: Bool
    /// Whether foreground deletion of the owner waits for this object.
    public var blocksOwnerDeletion: Bool

    /// A controller's reference to itself, as it puts it on what it makes.
    public init(controller owner: KubeObject) {
        apiVersion = owner.apiVersion
        kind = owner.kind
        name = owner.name
        uid = owner.uid
        isController = true
        blocksOwnerDeletion = true
    }

    public init(json: JSONValue) {
        apiVersion = json["apiVersion"]?.string ?? ""
        kind = json["kind"]?.string ?? ""
        name = json["name"]?.string ?? ""
        uid = json["uid"]?.string ?? ""
        isController = json["controller"]?.bool ?? false
        blocksOwnerDeletion = json["blockOwnerDeletion"]?.bool ?? false
    }

    public var json: JSONValue {
        var value: JSONValue = [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(name), "uid": .string(uid),
        ]
        if isController { value["controller"] = true }
        if blocksOwnerDeletion { value["blockOwnerDeletion"] = true }
        return value
    }
}

extension JSONValue {
    /// The string members of an object, as labels and annotations are; nil for anything but an object.
    public var stringMap: [String: String]? {
        guard let object = self.object else { return nil }
        var map = [String: String](minimumCapacity: object.count)
        for (key, value) in object { if let text = value.string { map[key] = text } }
        return map
    }

    public init(stringMap: [String: String]) {
        var object = JSONObject()
        for (key, value) in stringMap { object[key] = .string(value) }
        self = .object(object)
    }
}
