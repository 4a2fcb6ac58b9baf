import MeshAPI

/// What a pod and its namespace say about having a sidecar. The pod's word goes before its namespace's, ours before Istio's, labels
/// before annotations.
enum InjectionWish: Equatable {
    case yes
    case no

    private static let podKeys = [MeshName.inject, "sidecar.istio.io/inject"]
    private static let namespaceKeys = [MeshName.inject, "istio-injection"]

    /// - Throws: `AnnotationError` for a word that is neither yes nor no: leaving a pod out of the mesh by a typing mistake would be
    ///   seen by nobody.
    init(
        labels: [String: String], annotations: [String: String], namespaceLabels: [String: String]
    ) throws(AnnotationError) {
        for key in Self.podKeys {
            for (what, values) in [("label", labels), ("annotation", annotations)] {
                guard let text = values[key], !text.isEmpty else { continue }
                guard let wish = Self.read(text) else {
                    throw AnnotationError(description: "\(what) \(key): expected true or false, found \"\(text)\"")
                }
                self = wish
                return
            }
        }
        for key in Self.namespaceKeys {
            guard let text = namespaceLabels[key], !text.isEmpty else { continue }
            // A namespace's label may have meant anything; only a clear yes injects, as with a webhook's selector.
            self = Self.read(text) ?? .no
            return
        }
        self = .no
    }

    private static func read(_ text: String) -> InjectionWish? {
        switch text.lowercased() {
        case "true", "enabled", "yes", "y", "on": .yes
        case "false", "disabled", "no", "n", "off": .no
        default: nil
        }
    }
}
