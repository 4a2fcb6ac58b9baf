import Bytes
import JSON
import Reactor

/// Whether what the cluster wants is what the kernel does, for each address family: kube-proxy's rules, as a value.
struct ProxyHealth: Sendable {
    private struct Family {
        var lastUpdated: Timestamp?
        /// When the oldest change that is not written yet came.
        var pendingSince: MonotonicTime?
    }

    /// A change that waits longer makes its family unhealthy.
    let patience: Duration
    /// Whether load balancers may send to this node, as far as its Node object says.
    var isNodeEligible = true
    private var families: [IPAddress.Family: Family] = [:]

    init(patience: Duration) { self.patience = patience }

    mutating func queued(_ family: IPAddress.Family, at now: MonotonicTime) {
        if families[family]?.pendingSince == nil { families[family, default: Family()].pendingSince = now }
    }

    mutating func updated(_ family: IPAddress.Family, at time: Timestamp) {
        families[family] = Family(lastUpdated: time, pendingSince: nil)
    }

    /// Healthy, too, while nothing was asked of it yet.
    func isHealthy(_ family: IPAddress.Family, at now: MonotonicTime) -> Bool {
        families[family]?.pendingSince.map { now.duration(since: $0) < patience } ?? true
    }

    func isHealthy(at now: MonotonicTime) -> Bool { families.keys.allSatisfy { isHealthy($0, at: now) } }

    /// What `/healthz` (with the node) and `/livez` (without) answer: a status and its JSON.
    ///
    /// `lastUpdated` of a healthy proxy is now, as in releases that wrote rules all the time; those of the families are
    /// when it really was.
    func answer(withNode: Bool, at now: MonotonicTime, _ time: Timestamp) -> (status: Int, body: JSONValue) {
        let isHealthy = isHealthy(at: now) && (isNodeEligible || !withNode)
        let last = families.values.compactMap(\.lastUpdated).max()
        var status = JSONObject()
        for family in [IPAddress.Family.v4, .v6] {
            guard let updated = families[family]?.lastUpdated else { continue }
            status[family.kubernetesName] = [
                "lastUpdated": .string(updated.rfc3339Nano), "healthy": .bool(self.isHealthy(family, at: now)),
            ]
        }
        var body: JSONValue = [
            "lastUpdated": .string((isHealthy ? time : last ?? .zero).rfc3339Nano),
            "currentTime": .string(time.rfc3339Nano), "healthy": .bool(isHealthy), "status": .object(status),
        ]
        if withNode { body["nodeEligible"] = .bool(isNodeEligible) }
        return (isHealthy ? 200 : 503, body)
    }
}

extension Timestamp {
    /// What Go prints for a time that never was: the beginning of year 1.
    fileprivate static let zero = Timestamp(seconds: -62_135_596_800)
}

extension IPAddress.Family {
    /// `IPv4` or `IPv6`, as in EndpointSlices and metrics.
    var kubernetesName: String { self == .v4 ? "IPv4" : "IPv6" }
}
