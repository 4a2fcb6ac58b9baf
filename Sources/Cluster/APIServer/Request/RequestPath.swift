/// What a path under `/api` and `/apis` names, before anybody has looked whether it exists.
struct RequestPath: Hashable {
    var group = ""
    var version = ""
    /// Plural resource; empty when the path ends at the version.
    var resource = ""
    /// Empty for cluster-scoped resources and for requests across namespaces.
    var namespace = ""
    var name = ""
    var subresource = ""
    /// What follows the subresource, as proxies take it.
    var rest: [String] = []
    /// The old form of watching, `/api/v1/watch/…`.
    var isWatchPrefix = false

    /// Nil when the path is not of this shape at all.
    init?(segments: [String]) {
        var segments = segments[...]
        switch segments.popFirst() {
        case "api":
            guard let version = segments.popFirst() else { return nil }
            self.version = version
        case "apis":
            guard let group = segments.popFirst(), let version = segments.popFirst() else { return nil }
            self.group = group
            self.version = version
        default: return nil
        }
        if segments.first == "watch" {
            isWatchPrefix = true
            segments = segments.dropFirst()
        }
        guard let first = segments.first else { return }
        // A namespace is an object of its own, and the folder of others.
        if first == "namespaces", segments.count >= 3,
            !Self.namespaceSubresources.contains(segments[segments.startIndex + 2])
        {
            namespace = segments[segments.startIndex + 1]
            segments = segments.dropFirst(2)
        }
        resource = segments.popFirst() ?? ""
        name = segments.popFirst() ?? ""
        subresource = segments.popFirst() ?? ""
        rest = Array(segments)
        // An empty segment would name nothing.
        guard !resource.isEmpty else { return nil }
    }

    private static let namespaceSubresources: Set<String> = ["status", "finalize"]
}
