/// A resource that the API server serves, and where its objects are kept.
public struct ResourceDescription: Sendable {
    public var gvr: GroupVersionResource
    public var gvk: GroupVersionKind
    public var singular: String
    public var shortNames: [String]
    public var categories: [String]
    public var namespaced: Bool
    /// In Kubernetes' words: `create`, `delete`, `deletecollection`, `get`, `list`, `patch`, `update`, `watch`; sorted.
    public var verbs: [String]
    public var subresources: [(name: String, verbs: [String])]
    /// The schema type of the objects, as `apps.v1.Deployment`.
    public var typeName: String
    /// Where the store keeps the objects, with a slash at the end: `/registry/services/specs/`. The paths are those
    /// of upstream, so that a cluster's etcd can be taken over. Versions and groups that show the same objects
    /// (`events` of core and of `events.k8s.io`) share it.
    public var storagePrefix: String
    /// The kind in which objects are kept; differs from `gvk` only for resources that show another's objects.
    public var storageKind: GroupVersionKind

    public init(
        gvr: GroupVersionResource, gvk: GroupVersionKind, singular: String, shortNames: [String] = [],
        categories: [String] = [], namespaced: Bool, verbs: [String],
        subresources: [(name: String, verbs: [String])] = [], typeName: String, storagePrefix: String,
        storageKind: GroupVersionKind
    ) {
        self.gvr = gvr
        self.gvk = gvk
        self.singular = singular
        self.shortNames = shortNames
        self.categories = categories
        self.namespaced = namespaced
        self.verbs = verbs
        self.subresources = subresources
        self.typeName = typeName
        self.storagePrefix = storagePrefix
        self.storageKind = storageKind
    }

    /// Whether objects are kept at all; reviews and bindings are answered and forgotten.
    public var isStored: Bool { verbs.contains("get") && verbs.contains("create") }

    /// `DeploymentList`.
    public var listKind: GroupVersionKind {
        GroupVersionKind(group: gvk.group, version: gvk.version, kind: gvk.kind + "List")
    }

    public func serves(_ verb: String) -> Bool { verbs.contains(verb) }

    public func subresource(_ name: String) -> (name: String, verbs: [String])? {
        subresources.first { $0.name == name }
    }

    /// The key of one object: `/registry/pods/shop/cart-1`.
    public func storageKey(_ key: ObjectKey) -> String {
        namespaced ? "\(storagePrefix)\(key.namespace)/\(key.name)" : storagePrefix + key.name
    }

    /// The prefix of all objects of a namespace, or of all where it is nil: `/registry/pods/shop/`.
    public func storagePrefix(in namespace: String?) -> String {
        guard namespaced, let namespace, !namespace.isEmpty else { return storagePrefix }
        return "\(storagePrefix)\(namespace)/"
    }

    /// The directories whose names are older than their resources, and groups that upstream keeps apart.
    static func storagePrefix(of gvr: GroupVersionResource) -> String {
        let directory =
            switch (gvr.group, gvr.resource) {
            case ("", "nodes"): "minions"
            case ("", "services"): "services/specs"
            case ("", "endpoints"): "services/endpoints"
            case ("", "replicationcontrollers"): "controllers"
            case ("networking.k8s.io", "ingresses"): "ingress"
            case ("apiextensions.k8s.io", _), ("apiregistration.k8s.io", _),
                ("gateway.networking.k8s.io", _), ("security.istio.io", _):
                "\(gvr.group)/\(gvr.resource)"
            default: gvr.resource
            }
        return "/registry/\(directory)/"
    }
}
