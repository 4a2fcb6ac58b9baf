import Bytes

/// What a request asks of the balancer. Lives with the request; picking reads it in place.
struct PickRequest: Sendable {
    /// From the route's hash policies; nil makes ring hash and Maglev draw one.
    var hash: UInt64?
    /// nil where the cluster has no subsets, or the route asks for none. The route keeps the query.
    var subset: SubsetQuery.View?
    /// The host that a stateful session returns to.
    var sticky: StickyHost?
    /// What a retry avoids.
    var avoiding: HostExclusions?
    /// How a retry shares its load among priorities, or an aggregate cluster the choice that it made already.
    var load: PriorityLoad?

    init(
        hash: UInt64? = nil, subset: SubsetQuery.View? = nil, sticky: StickyHost? = nil,
        avoiding: HostExclusions? = nil,
        load: PriorityLoad? = nil
    ) {
        self.hash = hash
        self.subset = subset
        self.sticky = sticky
        self.avoiding = avoiding
        self.load = load
    }
}

struct StickyHost: Hashable, Sendable {
    var endpoint: IPEndpoint
    /// No other host will do.
    var isStrict = false
}

/// The retry host predicates of a route, and the hosts that a request was at already.
struct HostExclusions: Hashable, Sendable {
    /// `previous_hosts`; empty without the predicate.
    var previous: [HostID] = []
    /// `omit_canary_hosts` and `omit_host_metadata`.
    var marks: HostMarks = []
    /// How often another host is looked for before the last one found is taken (`host_selection_retry_max_attempts`).
    var attempts: UInt32 = 1

    @inline(__always)
    func contains(_ facts: HostFacts) -> Bool {
        !marks.isDisjoint(with: facts.marks) || previous.contains(facts.id)
    }

    /// The same hosts, by their addresses, in a set that knows them by other names.
    func moved(from old: HostSet, to new: HostSet) -> HostExclusions {
        let addresses = previous.compactMap { id in old.index(of: id).map { old[$0].address } }
        var moved = self
        moved.previous = addresses.isEmpty ? [] : new.hosts.filter { addresses.contains($0.address) }.map(\.id)
        return moved
    }
}

/// What picking comes to.
enum Pick: Hashable, Sendable {
    case host(HostIndex)
    /// ORIGINAL_DST: the connection's own destination.
    case originalDestination
    case none(PickFailure)
}

/// Why there is no host: the response flag is UH in each case, the sentence is for people.
enum PickFailure: Hashable, Sendable {
    case noHosts, noHealthyHosts, inPanic, noSubset, stickyHostUnavailable

    var reason: String {
        switch self {
        case .noHosts: "the cluster has no hosts"
        case .noHealthyHosts: "no host that could be chosen is healthy"
        case .inPanic: "too few hosts are healthy, and fail_traffic_on_panic is set"
        case .noSubset: "no host has the metadata that the route asks for"
        case .stickyHostUnavailable:
            "the host that the session belongs to is gone or unhealthy, and the session is strict"
        }
    }
}

/// What one worker counted of its picks, under Envoy's names (`cluster.NAME.…`).
struct BalanceCounters: Hashable, Sendable {
    /// `lb_healthy_panic`
    var healthyPanic: UInt64 = 0
    /// `lb_zone_routing_all_directly`
    var zoneAllDirectly: UInt64 = 0
    /// `lb_zone_routing_sampled`
    var zoneSampled: UInt64 = 0
    /// `lb_zone_routing_cross_zone`
    var zoneCross: UInt64 = 0
    /// `lb_zone_no_capacity_left`
    var zoneNoCapacityLeft: UInt64 = 0
    /// `lb_local_cluster_not_ok`
    var localClusterNotOK: UInt64 = 0
    /// `lb_subsets_selected`
    var subsetsSelected: UInt64 = 0
    /// `lb_subsets_fallback`
    var subsetsFallback: UInt64 = 0
    /// `lb_subsets_fallback_panic`
    var subsetsFallbackPanic: UInt64 = 0

    /// Envoy's name of each and its value.
    var byName: [(name: String, value: UInt64)] {
        [
            ("lb_healthy_panic", healthyPanic), ("lb_zone_routing_all_directly", zoneAllDirectly),
            ("lb_zone_routing_sampled", zoneSampled), ("lb_zone_routing_cross_zone", zoneCross),
            ("lb_zone_no_capacity_left", zoneNoCapacityLeft), ("lb_local_cluster_not_ok", localClusterNotOK),
            ("lb_subsets_selected", subsetsSelected), ("lb_subsets_fallback", subsetsFallback),
            ("lb_subsets_fallback_panic", subsetsFallbackPanic),
        ]
    }
}
