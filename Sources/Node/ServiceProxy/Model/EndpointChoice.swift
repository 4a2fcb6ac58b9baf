import Bytes

/// One address and port behind a service port.
struct Endpoint: Hashable, Comparable, Sendable {
    var address: IPAddress
    var port: Port

    /// No endpoint: what stands in a slot that is empty.
    static let none = Endpoint(address: .anyV4, port: 0)

    static func < (a: Self, b: Self) -> Bool { a.address == b.address ? a.port < b.port : a.address < b.address }
}

/// Which endpoints of a service port may be used from this node: kube-proxy's rules, as a pure function.
struct EndpointChoice: Equatable {
    /// Sorted. For policies `Cluster`.
    var cluster: [Endpoint] = []
    /// Sorted. For policies `Local`.
    var local: [Endpoint] = []
    /// Any that could serve, anywhere: with none a VIP rejects, with some but none local it drops.
    var hasEndpoints = false
    /// Every one that still serves, chosen or not: flows to others are stale.
    var serving: Set<Endpoint> = []
    /// Addresses of local endpoints, for hairpin.
    var localAddresses: Set<IPAddress> = []

    typealias Candidate = (endpoint: Endpoint, flags: EndpointSliceSpec.Flags)

    init(_ candidates: [Candidate]) {
        let all = Self.unique(candidates)
        for (endpoint, flags) in all {
            if flags.contains(.serving) || flags.contains(.ready) { serving.insert(endpoint) }
            if flags.contains(.local) { localAddresses.insert(endpoint.address) }
        }
        let ready = all.filter { $0.flags.contains(.ready) }
        let leaving = all.filter { $0.flags.isSuperset(of: [.serving, .terminating]) && !$0.flags.contains(.ready) }
        hasEndpoints = !ready.isEmpty || !leaving.isEmpty

        // Hints count only when every ready endpoint has one and some name us; node hints before zone hints.
        var near = ready
        if !ready.isEmpty {
            if ready.allSatisfy({ $0.flags.contains(.hasNodeHints) }),
                ready.contains(where: { $0.flags.contains(.hintsThisNode) })
            {
                near = ready.filter { $0.flags.contains(.hintsThisNode) }
            } else if ready.allSatisfy({ $0.flags.contains(.hasZoneHints) }),
                ready.contains(where: { $0.flags.contains(.hintsThisZone) })
            {
                near = ready.filter { $0.flags.contains(.hintsThisZone) }
            }
        }
        cluster = Self.endpoints(near.isEmpty ? leaving : near)
        let readyHere = ready.filter { $0.flags.contains(.local) }
        local = Self.endpoints(readyHere.isEmpty ? leaving.filter { $0.flags.contains(.local) } : readyHere)
    }

    /// An address can be in two slices while it moves, or be used again: the one that does not terminate counts, then
    /// the more able one, in whatever order they came.
    private static func unique(_ candidates: [Candidate]) -> [Candidate] {
        var seen: [Endpoint: EndpointSliceSpec.Flags] = [:]
        for (endpoint, flags) in candidates {
            if let other = seen[endpoint], rank(other) >= rank(flags) { continue }
            seen[endpoint] = flags
        }
        return seen.map { ($0.key, $0.value) }
    }

    private static func rank(_ flags: EndpointSliceSpec.Flags) -> Int {
        (flags.contains(.terminating) ? 0 : 1 << 10) + (flags.contains(.ready) ? 1 << 9 : 0)
            + (flags.contains(.serving) ? 1 << 8 : 0) + Int(flags.rawValue)
    }

    private static func endpoints(_ candidates: [Candidate]) -> [Endpoint] { candidates.map(\.endpoint).sorted() }
}
