import Bytes
import ClusterAPI

/// The ends of a question about policies as people name them, in the words of `PolicyCluster`: workloads become their pods.
struct PolicyEnds: Sendable {
    var pods: [KubeObject]
    var replicaSets: [KubeObject]
    var services: [KubeObject]
    /// Of names without one.
    var namespace: String

    /// - Throws: `Refusal` for a name that nothing has.
    func clients(_ text: String) throws -> [String] {
        guard !text.hasPrefix("node:"), IPAddress(text) == nil else { return [text] }
        return try named(try WorkloadName(text, namespace: namespace))
    }

    /// `TO[:PORT][/PROTOCOL]`; a Service stays one, since its ports are its own.
    func destinations(_ text: String) throws -> [String] {
        let end = text.firstIndex(of: ":") ?? text.endIndex
        let (place, rest) = (String(text[..<end]), text[end...])
        // An IPv6 address has colons of its own; what has none may have a protocol, which is no name.
        guard !text.hasPrefix("node:"), !text.hasPrefix("["), IPAddress(place) == nil, IPAddress(text) == nil,
            end != text.endIndex
        else { return [text] }
        let name = try WorkloadName(place, namespace: namespace)
        let isService = services.contains { $0.namespace == name.namespace && $0.name == name.name }
        let isPod = pods.contains { $0.namespace == name.namespace && $0.name == name.name }
        if isService, name.kind == .service || name.kind == nil && !isPod {
            return ["\(name.namespace)/\(name.name)\(rest)"]
        }
        return try named(name).map { $0 + rest }
    }

    private func named(_ name: WorkloadName) throws -> [String] {
        let found = name.pods(pods, replicaSets: replicaSets, services: services).filter {
            !$0.status.text("podIP").isEmpty
        }
        guard !found.isEmpty else {
            let others = pods.filter { $0.namespace == name.namespace }.map(\.name)
            throw Refusal(
                "there is no pod for \(name.description) that has an address",
                hint: others.isEmpty
                    ? "namespace \(name.namespace) has no pods"
                    : "pods there: \(others.prefix(8).joined(separator: ", "))"
            )
        }
        return found.map { "\($0.key)" }
    }
}
