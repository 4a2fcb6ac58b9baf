public import ClusterAPI
public import JSON

/// Verbs on objects, over any transport. A value: copies share the transport.
public struct KubeClient: Sendable {
    public let transport: any APITransport

    public init(_ transport: any APITransport) { self.transport = transport }

    public func get(_ resource: GroupVersionResource, _ key: ObjectKey) async throws -> KubeObject {
        KubeObject(
            json: try await transport.send(
                APIRequest(.get, resource, namespace: key.namespace, name: key.name)))
    }

    /// nil when the object does not exist; other failures are thrown.
    public func find(_ resource: GroupVersionResource, _ key: ObjectKey) async throws -> KubeObject? {
        do {
            return try await get(resource, key)
        } catch let error as StatusError where error.code == 404 {
            return nil
        }
    }

    /// All objects of a resource, page by page, as one list.
    public func list(
        _ resource: GroupVersionResource, namespace: String? = nil, _ selection: Selection = .everything
    ) async throws -> KubeList {
        var result = KubeList(items: [], resourceVersion: "")
        var token: String?
        repeat {
            var parameters = selection.parameters + [("limit", String(Self.pageSize))]
            if let token { parameters.append(("continue", token)) }
            let page = try await transport.send(
                APIRequest(.list, resource, namespace: namespace, parameters: parameters))
            let list = KubeList(json: page)
            result.items += list.items
            result.resourceVersion = list.resourceVersion
            token = list.continueToken
        } while token != nil
        return result
    }

    /// Objects a page of `list`.
    public static let pageSize = 500

    @discardableResult
    public func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String? = nil
    ) async throws -> KubeObject {
        KubeObject(
            json: try await transport.send(
                APIRequest(
                    .create, resource, namespace: object.namespace, name: subresource == nil ? nil : object.name,
                    subresource: subresource, body: object.json)))
    }

    /// Replaces the object; its resourceVersion, when present, must still be current (else 409 Conflict).
    @discardableResult
    public func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String? = nil
    ) async throws -> KubeObject {
        KubeObject(
            json: try await transport.send(
                APIRequest(
                    .update, resource, namespace: object.namespace, name: object.name, subresource: subresource,
                    body: object.json)))
    }

    @discardableResult
    public func updateStatus(_ resource: GroupVersionResource, _ object: KubeObject) async throws -> KubeObject {
        try await update(resource, object, subresource: "status")
    }

    @discardableResult
    public func patch(
        _ resource: GroupVersionResource, _ key: ObjectKey, _ type: APIRequest.PatchType, _ patch: JSONValue,
        subresource: String? = nil
    ) async throws -> KubeObject {
        KubeObject(
            json: try await transport.send(
                APIRequest(
                    .patch(type), resource, namespace: key.namespace, name: key.name, subresource: subresource,
                    body: patch)))
    }

    /// Asks for deletion. Finalizers and grace periods may keep the object for a while.
    ///
    /// - Parameter gracePeriodSeconds: nil keeps the kind's default; 0 deletes a pod at once.
    public func delete(
        _ resource: GroupVersionResource, _ key: ObjectKey, uid: String? = nil, resourceVersion: String? = nil,
        gracePeriodSeconds: Int64? = nil, propagation: PropagationPolicy? = nil
    ) async throws {
        var options: JSONValue = ["apiVersion": "v1", "kind": "DeleteOptions"]
        var preconditions = JSONObject()
        if let uid { preconditions["uid"] = .string(uid) }
        if let resourceVersion { preconditions["resourceVersion"] = .string(resourceVersion) }
        if !preconditions.isEmpty { options["preconditions"] = .object(preconditions) }
        if let gracePeriodSeconds { options["gracePeriodSeconds"] = .int(gracePeriodSeconds) }
        if let propagation { options["propagationPolicy"] = .string(propagation.rawValue) }
        _ = try await transport.send(
            APIRequest(.delete, resource, namespace: key.namespace, name: key.name, body: options))
    }
}

/// What happens to the objects that a deleted object owns.
public enum PropagationPolicy: String, Sendable {
    case orphan = "Orphan"
    case background = "Background"
    case foreground = "Foreground"
}

/// A page or the whole of a list.
public struct KubeList: Sendable {
    public var items: [KubeObject]
    public var resourceVersion: String
    public var continueToken: String?

    public init(items: [KubeObject], resourceVersion: String, continueToken: String? = nil) {
        self.items = items
        self.resourceVersion = resourceVersion
        self.continueToken = continueToken
    }

    /// Items of a list may leave out `apiVersion` and `kind`; here they get them from the list's own.
    public init(json: JSONValue) {
        let apiVersion = json["apiVersion"]
        let listKind = json["kind"]?.string ?? ""
        let kind = listKind.hasSuffix("List") ? String(listKind.dropLast(4)) : listKind
        items = (json["items"]?.array ?? []).map { item in
            guard item["kind"] == nil else { return KubeObject(json: item) }
            var item = item
            item["apiVersion"] = apiVersion
            item["kind"] = .string(kind)
            return KubeObject(json: item)
        }
        resourceVersion = json["metadata"]?["resourceVersion"]?.string ?? ""
        continueToken = json["metadata"]?["continue"]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Which objects of a resource: selectors as text, in the API's grammar.
public struct Selection: Sendable, Hashable {
    public var labels: String
    public var fields: String

    public init(labels: String = "", fields: String = "") {
        self.labels = labels
        self.fields = fields
    }

    public static let everything = Selection()

    public var parameters: [(name: String, value: String)] {
        var result: [(name: String, value: String)] = []
        if !labels.isEmpty { result.append(("labelSelector", labels)) }
        if !fields.isEmpty { result.append(("fieldSelector", fields)) }
        return result
    }
}

extension KubeClient {
    /// A document outside the resources: discovery (`/apis`, `/apis/apps/v1`), `/version`.
    public func discovery(_ path: String) async throws -> JSONValue { try await transport.document(path) }
}
