/// What stands behind a resource beside its objects: how clients call it, and which kind they send and get.
struct ServedSubresource {
    var name: String
    var kind: GroupVersionKind
    var verbs: [String]
}

extension ResourceDescription {
    /// The subresources as discovery lists them: by name, without the path wildcards.
    var served: [ServedSubresource] {
        subresources.filter { !$0.name.contains("/") }.map { subresource in
            ServedSubresource(
                name: subresource.name, kind: Self.kind(of: subresource.name, under: gvk), verbs: subresource.verbs)
        }.sorted { $0.name < $1.name }
    }

    static func kind(of subresource: String, under parent: GroupVersionKind) -> GroupVersionKind {
        switch subresource {
        case "scale": GroupVersionKind(group: "autoscaling", kind: "Scale")
        case "binding": GroupVersionKind(kind: "Binding")
        case "eviction": GroupVersionKind(group: "policy", kind: "Eviction")
        case "token": GroupVersionKind(group: "authentication.k8s.io", kind: "TokenRequest")
        case "attach": GroupVersionKind(kind: "PodAttachOptions")
        case "exec": GroupVersionKind(kind: "PodExecOptions")
        case "portforward": GroupVersionKind(kind: "PodPortForwardOptions")
        case "proxy": GroupVersionKind(kind: "\(parent.kind)ProxyOptions")
        default: parent
        }
    }
}
