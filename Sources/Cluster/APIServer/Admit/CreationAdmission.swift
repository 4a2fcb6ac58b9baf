public import ClusterAPI
public import JSON

/// Changes or refuses objects that are about to be made, where upstream calls mutating webhooks: behind the server's own plug-ins,
/// before the object is checked. How a room that the server does not know adds to admission.
public protocol CreationAdmission: Sendable {
    /// Whether objects of this resource concern it; others are not shown to it.
    func covers(_ resource: GroupVersionResource) -> Bool

    /// - Throws: a `StatusError`, which the client gets; the object is not made.
    func admit(_ creation: ObjectCreation) throws(StatusError) -> ObjectAdmission
}

/// An object that is about to be made.
public struct ObjectCreation: Sendable {
    public var resource: GroupVersionResource
    /// Empty for objects of the cluster.
    public var namespace: String
    /// Labels of the object's namespace.
    public var namespaceLabels: [String: String]
    /// With defaults, and with a name also where it is generated.
    public var object: JSONValue
}

/// What admission made of it.
public struct ObjectAdmission: Sendable {
    /// Nil leaves the object as it is. Defaults are filled in again afterwards.
    public var object: JSONValue?
    /// Shown to the client beside the answer.
    public var warnings: [String]

    public init(object: JSONValue? = nil, warnings: [String] = []) {
        self.object = object
        self.warnings = warnings
    }
}

extension AdmissionChain {
    /// Shows a new object to what other rooms added, in their order.
    /// - Returns: warnings for the client.
    func admitAdded(
        _ object: inout JSONValue, _ call: APICall, in registry: Registry
    ) async throws(StatusError) -> [String] {
        guard call.subresource.isEmpty else { return [] }
        let concerned = added.filter { $0.covers(call.resource.gvr) }
        guard !concerned.isEmpty else { return [] }
        var creation = ObjectCreation(
            resource: call.resource.gvr, namespace: call.namespace,
            namespaceLabels: try await namespaceLabels(call.namespace, registry), object: object)
        var warnings: [String] = []
        for admission in concerned {
            let answer = try admission.admit(creation)
            warnings += answer.warnings
            guard var changed = answer.object else { continue }
            Defaulting.apply(to: &changed, of: call.resource.gvk)
            creation.object = changed
        }
        object = creation.object
        return warnings
    }

    private func namespaceLabels(_ name: String, _ registry: Registry) async throws(StatusError) -> [String: String] {
        guard !name.isEmpty, let namespaces = registry.schema.resource(.namespaces),
            let namespace = try await registry.storage.find(namespaces, ObjectKey(name: name))
        else { return [:] }
        return KubeObject(json: try namespace.json()).labels
    }
}
