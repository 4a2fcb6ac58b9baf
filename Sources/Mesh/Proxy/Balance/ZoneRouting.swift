/// How priority 0 keeps requests in the proxy's own zone.
struct ZoneRouting: Sendable, BitwiseCopyable, Hashable {
    enum Mode: UInt8, Sendable, BitwiseCopyable {
        case off
        /// Everything stays in the own zone.
        case direct
        /// A part stays; the rest goes where zones have more upstream hosts than proxies.
        case residual
    }

    var mode: Mode
    /// In 1/10000.
    var localShare: UInt32 = 0
    /// Where the zones' running sums of spare capacity are in the set's `capacities`; as many as localities.
    var capacities: UInt32 = 0
    var localities: UInt32 = 0
    /// So many of the proxy's own siblings are unavailable that nothing can be said about zones.
    var isLocalClusterInPanic = false

    static let off = ZoneRouting(mode: .off)
}

/// The cluster that this proxy is in itself (`local_cluster_name`): what zone-aware routing compares with.
struct LocalCluster: Hashable, Sendable {
    struct Zone: Hashable, Sendable {
        var hosts = 0
        var healthy = 0
        var healthyWeight: UInt64 = 0
    }

    /// Where this proxy is.
    var own: Locality
    var zones: [Locality: Zone]
    var availability: PriorityAvailability

    init(own: Locality, zones: [Locality: Zone], availability: PriorityAvailability) {
        self.own = own
        self.zones = zones
        self.availability = availability
    }

    /// Its first priority, as it stands in `set`.
    init(own: Locality, _ set: HostSet) {
        var zones: [Locality: Zone] = [:]
        for host in set.hosts where set.places[Int(host.place)].priority == 0 {
            var zone = zones[set.places[Int(host.place)].locality] ?? Zone()
            zone.hosts += 1
            if host.health.availability == .healthy {
                zone.healthy += 1
                zone.healthyWeight += UInt64(host.weight)
            }
            zones[set.places[Int(host.place)].locality] = zone
        }
        self.init(own: own, zones: zones, availability: set.availability.first ?? PriorityAvailability())
    }
}

extension ZoneRouting {
    /// Why zone-aware routing is off although it is asked for: counters of Envoy's.
    enum Obstacle: Sendable {
        case localClusterNotOK, clusterTooSmall
    }

    /// What to do, and the running sums of spare capacity.
    static func plan(
        _ zones: [(locality: Locality, zone: LocalCluster.Zone)], _ local: LocalCluster, _ config: ZoneAware,
        panicThreshold: UInt8
    ) -> (routing: ZoneRouting, capacities: [UInt32], obstacle: Obstacle?) {
        guard zones.count >= 2 else { return (.off, [], nil) }
        guard config.forcedLocalHosts != nil || local.zones.count >= 2 else { return (.off, [], nil) }
        guard local.zones[local.own].map({ $0.hosts > 0 }) ?? false else { return (.off, [], .localClusterNotOK) }
        guard zones.reduce(0, { $0 + $1.zone.healthy }) >= config.minimumClusterSize else {
            return (.off, [], .clusterTooSmall)
        }
        func measure(_ zone: LocalCluster.Zone) -> UInt64 {
            config.basis == .hosts ? UInt64(zone.healthy) : zone.healthyWeight
        }
        let localTotal = local.zones.values.reduce(0) { $0 + measure($1) }
        let upstreamTotal = zones.reduce(0) { $0 + measure($1.zone) }
        // In 1/10000, rounded down as Envoy rounds them.
        let percentages = zones.map { locality, zone -> (local: UInt64, upstream: UInt64) in
            if zone.healthy == 0 { return (0, 0) }
            let siblings = local.zones[locality].map(measure) ?? 0
            return (
                localTotal > 0 ? 10000 * siblings / localTotal : 0,
                upstreamTotal > 0 ? 10000 * measure(zone) / upstreamTotal : 0
            )
        }
        var routing = ZoneRouting(mode: .residual, localities: UInt32(zones.count))
        routing.isLocalClusterInPanic = local.availability.isInPanic(below: panicThreshold)
        let hasOwn = zones[0].locality == local.own
        if hasOwn {
            let isSpacious = percentages[0].upstream > 0 && percentages[0].upstream >= percentages[0].local
            let isForced = config.forcedLocalHosts.map { zones[0].zone.healthy >= $0 } ?? false
            if isSpacious || isForced {
                routing.mode = .direct
                return (routing, [], nil)
            }
            if percentages[0].local > 0 {
                routing.localShare = UInt32(percentages[0].upstream * 10000 / percentages[0].local)
            }
        }
        var sum: UInt64 = 0
        let capacities = percentages.enumerated().map { i, percentage in
            // The own zone's share is routed already.
            if !(hasOwn && i == 0), percentage.upstream > percentage.local {
                sum += percentage.upstream - percentage.local
            }
            return UInt32(sum)
        }
        return (routing, capacities, nil)
    }
}
