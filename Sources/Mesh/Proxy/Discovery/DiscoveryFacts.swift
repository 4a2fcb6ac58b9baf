import Bytes
import XDS

/// What there is to tell of a conversation with a control plane.
struct DiscoveryFacts: Sendable {
    var origin: ConfigSource.Origin
    var isConnected: Bool
    /// As it stood when it was asked.
    var client: DiscoveryClient
    var onDemand: OnDemandListeners.Counters

    /// Under Envoy's names.
    func report(to report: inout StatReport) {
        for kind in [ResourceKind.cluster, .listener] {
            if let counters = client.counters(of: kind) { kind.report(counters, to: &report) }
        }
        for (name, counters) in client.namedCounters(of: .secret) { counters.report(.secret(name), to: &report) }
    }
}

extension [DiscoveryFacts] {
    func report(to report: inout StatReport) {
        guard !isEmpty else { return }
        // As in Envoy these tell of the stream for all; who has none of it hears of those for one kind.
        let aggregated = filter { $0.origin == .aggregated }
        let shown = aggregated.isEmpty ? self : aggregated
        report.gauge(
            .process, "control_plane.connected_state", shown.contains { $0.isConnected } ? 1 : 0, isUsed: true)
        // What a stream is due is sent at once.
        report.gauge(.process, "control_plane.pending_requests", 0)
        report.counter(.process, "control_plane.rate_limit_enforced", 0)
        let identifiers = shown.map(\.client.server).filter { !$0.isEmpty }
        report.texts.append(StatText("control_plane.identifier", identifiers.first ?? ""))
        for facts in self { facts.report(to: &report) }
        self[0].onDemand.report(to: &report)
    }

    /// How the resources of a kind stand, by name.
    func statuses(_ kind: ResourceKind) -> [ResourceStatus] { flatMap { $0.client.statuses(kind) } }

    func version(of kind: ResourceKind) -> String {
        lazy.map { $0.client.version(of: kind) }.first { !$0.isEmpty } ?? ""
    }
}
