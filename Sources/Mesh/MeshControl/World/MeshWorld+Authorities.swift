import ClusterAPI
import JSON

/// What a reference to certificates of authorities leads to.
enum FoundAuthorities {
    case found(String)
    case refused(reason: String, message: String)
}

extension MeshWorld {
    /// - Parameters:
    ///   - kind: Who refers, as grants name it.
    ///   - namespace: Where that is.
    func authorities(_ reference: JSONValue, of kind: String, in namespace: String) -> FoundAuthorities {
        let key = reference.target(from: namespace)
        guard reference.text("group").isEmpty, reference.text("kind") == "ConfigMap" else {
            return .refused(reason: "InvalidKind", message: "\(reference.text("kind")) \(key) is no ConfigMap")
        }
        guard isAllowed(kind, of: namespace, toName: "ConfigMap", key) else {
            return .refused(
                reason: "RefNotPermitted", message: "no ReferenceGrant allows \(kind)s of \(namespace) ConfigMap \(key)"
            )
        }
        guard let found = configMaps[key] else {
            return .refused(reason: "InvalidCACertificateRef", message: "there is no ConfigMap \(key)")
        }
        if let problem = found.problem {
            return .refused(reason: "InvalidCACertificateRef", message: "ConfigMap \(key): \(problem)")
        }
        return .found(found.pem)
    }
}
