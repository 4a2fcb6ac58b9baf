import MeshAPI

/// How the connections of a pod that says nothing of it are captured: as the mesh has it, and written on the pod, so that everybody who has
/// to know reads it there.
struct Interception {
    /// Of the namespace, by Pod Security admission.
    static let level = "pod-security.kubernetes.io/enforce"

    /// For the pod.
    private(set) var annotations: [String: String] = [:]
    private(set) var warnings: [String] = []

    init(_ standard: CapturePlan.Mode, _ annotations: [String: String], _ namespaceLabels: [String: String]) {
        guard standard != .redirect, MeshAnnotations(annotations).sidecar("interceptionMode") == nil else { return }
        if standard == .tproxy, let level = Self.forbidding(namespaceLabels) {
            warnings.append("pod security \"\(level)\" forbids what TPROXY needs: clients' addresses are not kept")
            return
        }
        self.annotations["\(MeshAnnotations.prefix)interceptionMode"] = standard.rawValue
    }

    /// The level that lets no container have CAP_NET_ADMIN; nil where one may.
    static func forbidding(_ namespaceLabels: [String: String]) -> String? {
        namespaceLabels[level].flatMap { ["baseline", "restricted"].contains($0) ? $0 : nil }
    }
}
