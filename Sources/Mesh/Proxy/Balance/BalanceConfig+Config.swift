import Reactor
import XDS

extension BalanceConfig {
    /// How an `envoy.config.cluster.v3.Cluster` chooses among its hosts: `load_balancing_policy` where it is set, else `lb_policy`
    /// with the `…_lb_config` of its name, `common` (its `common_lb_config`) and `lb_subset_config`.
    init(cluster node: ConfigNode, common: ConfigNode?) throws(ConfigError) {
        if node.has("load_balancing_policy") {
            let legacy = try node.enumeration("lb_policy", as: LegacyPolicy.self)
            _ = legacy
            guard let list = node.message("load_balancing_policy") else { throw node.error("load_balancing_policy") }
            try self.init(list: list)
            guard common?.choice("locality_config_specifier") == nil else {
                throw node.error(
                    "common_lb_config", "locality settings belong into load_balancing_policy where that is set")
            }
        } else {
            try self.init(legacy: node)
            subsets = try node.message("lb_subset_config", SubsetConfig.init(legacy:))
            if let weighted = common?.message("locality_weighted_lb_config") {
                _ = weighted
                locality = .weighted
            } else if let zoneAware = common?.message("zone_aware_lb_config") {
                locality = .zoneAware(ZoneAware(zoneAware))
            }
            if let hashing = common?.message("consistent_hashing_lb_config") { setHashing(hashing) }
        }
        if let common { try readCommon(common) }
        do { try validate() } catch { throw node.error(error.description) }
    }

    private mutating func readCommon(_ node: ConfigNode) throws(ConfigError) {
        panicThreshold = node.percent("healthy_panic_threshold").map { UInt8($0) } ?? panicThreshold
        if let set = node.message("override_host_status") {
            overrideHostStatus = HealthStatusSet(
                try set.enumerations("statuses", as: ConfiguredHealth.self).map(\.status))
        }
        // Changes of many hosts in one moment are one change here, however far apart they come.
        node.ignore("update_merge_window")
    }

    // MARK: lb_policy

    private init(legacy node: ConfigNode) throws(ConfigError) {
        switch try node.enumeration("lb_policy", as: LegacyPolicy.self) {
        case .roundRobin, .policyList:
            self.init(.roundRobin(try Self.slowStart(node.message("round_robin_lb_config"))))
        case .leastRequest:
            var least = LeastRequest()
            if let config = node.message("least_request_lb_config") {
                least.choices = config.uint32("choice_count", default: 2)
                least.activeRequestBias = Self.double(config, "active_request_bias") ?? 1
                least.slowStart = try Self.slowStart(config)
            }
            self.init(.leastRequest(least))
        case .random: self.init(.random)
        case .ringHash:
            var ring = RingHash()
            if let config = node.message("ring_hash_lb_config") {
                ring.minimumSize = config.uint64("minimum_ring_size", default: ring.minimumSize)
                ring.maximumSize = config.uint64("maximum_ring_size", default: ring.maximumSize)
                let function = try config.enumeration("hash_function", as: HashFunction.self)
                ring.function = function == .xxHash ? .xxHash : .murmurHash2
            }
            self.init(.ringHash(ring))
        case .maglev:
            var maglev = Maglev()
            if let config = node.message("maglev_lb_config") {
                maglev.tableSize = config.uint64("table_size", default: maglev.tableSize)
            }
            self.init(.maglev(maglev))
        case .clusterProvided: self.init(.originalDestination)
        }
    }

    /// `CommonLbConfig.ConsistentHashingLbConfig`, and the message of the same name for policies of a list.
    private mutating func setHashing(_ node: ConfigNode) {
        let (byHostname, factor) = (node.bool("use_hostname_for_hashing"), node.uint32IfSet("hash_balance_factor"))
        switch policy {
        case .ringHash(var ring):
            ring.usesHostname = ring.usesHostname || byHostname
            ring.balanceFactor = factor ?? ring.balanceFactor
            policy = .ringHash(ring)
        case .maglev(var maglev):
            maglev.usesHostname = maglev.usesHostname || byHostname
            maglev.balanceFactor = factor ?? maglev.balanceFactor
            policy = .maglev(maglev)
        default: break
        }
    }

    // MARK: load_balancing_policy

    /// The first policy of the list that is known, as Envoy takes it.
    private init(list: ConfigNode) throws(ConfigError) {
        var refusal: ConfigError?
        let entries = list.messages("policies")
        for (number, entry) in entries.enumerated() {
            guard let config = entry.message("typed_extension_config") else {
                throw entry.error("typed_extension_config", "is missing")
            }
            _ = config.string("name")
            let message = config.typeNameOfAny("typed_config") ?? ""
            let name: BalancePolicyName
            do {
                name = try BalancePolicyName(message: message)
            } catch {
                config.ignore("typed_config")
                refusal = refusal ?? config.error("typed_config", error.description)
                continue
            }
            guard let node = try config.typed("typed_config") else {
                throw config.error("typed_config", "is missing")
            }
            // Those behind it are for proxies that do not know it.
            for other in entries[(number + 1)...] { other.ignore("typed_extension_config") }
            try self.init(name, node)
            return
        }
        throw refusal ?? list.error("policies", "is empty")
    }

    private init(_ name: BalancePolicyName, _ node: ConfigNode) throws(ConfigError) {
        switch name {
        case .roundRobin:
            self.init(.roundRobin(try Self.slowStart(node)))
            try readLocality(node)
        case .leastRequest:
            var least = LeastRequest()
            least.choices = node.uint32("choice_count", default: 2)
            least.activeRequestBias = Self.double(node, "active_request_bias") ?? 1
            least.slowStart = try Self.slowStart(node)
            let full = node.bool("enable_full_scan", default: false)
            least.scansAll = try node.enumeration("selection_method", as: Selection.self) == .fullScan || full
            self.init(.leastRequest(least))
            try readLocality(node)
        case .random:
            self.init(.random)
            try readLocality(node)
        case .ringHash:
            var ring = RingHash()
            ring.minimumSize = node.uint64("minimum_ring_size", default: ring.minimumSize)
            ring.maximumSize = node.uint64("maximum_ring_size", default: ring.maximumSize)
            let function = try node.enumeration("hash_function", as: ListedHashFunction.self)
            ring.function = function == .murmurHash2 ? .murmurHash2 : .xxHash
            ring.usesHostname = node.bool("use_hostname_for_hashing")
            ring.balanceFactor = node.uint32("hash_balance_factor", default: 0)
            self.init(.ringHash(ring))
            if let hashing = node.message("consistent_hashing_lb_config") { setHashing(hashing) }
            if node.message("locality_weighted_lb_config") != nil { locality = .weighted }
        case .maglev:
            var maglev = Maglev()
            maglev.tableSize = node.uint64("table_size", default: maglev.tableSize)
            self.init(.maglev(maglev))
            if let hashing = node.message("consistent_hashing_lb_config") { setHashing(hashing) }
            if node.message("locality_weighted_lb_config") != nil { locality = .weighted }
        case .clusterProvided: self.init(.originalDestination)
        case .wrrLocality:
            guard let inner = node.message("endpoint_picking_policy") else {
                throw node.error("endpoint_picking_policy", "is missing")
            }
            try self.init(list: inner)
            locality = .weighted
        case .subset:
            guard let inner = node.message("subset_lb_policy") else {
                throw node.error("subset_lb_policy", "is missing")
            }
            try self.init(list: inner)
            subsets = try SubsetConfig(listed: node)
        case .overrideHost: throw node.error("override_host is for stateful sessions only, which bring it themselves")
        }
    }

    private mutating func readLocality(_ node: ConfigNode) throws(ConfigError) {
        guard let config = node.message("locality_lb_config") else { return }
        if let zoneAware = config.message("zone_aware_lb_config") {
            var zone = ZoneAware(zoneAware)
            if zoneAware.bool("force_locality_direct_routing") { zone.forcedLocalHosts = 1 }
            if let force = zoneAware.message("force_local_zone") {
                zone.forcedLocalHosts = Int(force.uint32("min_size", default: 1))
            }
            zone.basis = try zoneAware.enumeration("locality_basis", as: Basis.self) == .hosts ? .hosts : .weights
            locality = .zoneAware(zone)
        } else if config.message("locality_weighted_lb_config") != nil {
            locality = .weighted
        }
    }

    // MARK: Parts

    private static func slowStart(_ node: ConfigNode?) throws(ConfigError) -> SlowStart? {
        guard let config = node?.message("slow_start_config"), let window = config.duration("slow_start_window"),
            window > .zero
        else { return nil }
        var slowStart = SlowStart(window: window)
        slowStart.aggression = double(config, "aggression") ?? 1
        slowStart.minimumWeightPercent = config.percent("min_weight_percent") ?? 10
        return slowStart
    }

    /// A `RuntimeDouble`'s value: this proxy's runtime has no such keys.
    private static func double(_ node: ConfigNode, _ name: String) -> Double? {
        guard let value = node.message(name) else { return nil }
        value.ignore("runtime_key")
        return value.double("default_value")
    }

    private enum LegacyPolicy: String, ConfigEnum {
        case roundRobin = "ROUND_ROBIN"
        case leastRequest = "LEAST_REQUEST"
        case ringHash = "RING_HASH"
        case random = "RANDOM"
        case maglev = "MAGLEV"
        case clusterProvided = "CLUSTER_PROVIDED"
        case policyList = "LOAD_BALANCING_POLICY_CONFIG"
    }

    private enum HashFunction: String, ConfigEnum {
        case xxHash = "XX_HASH"
        case murmurHash2 = "MURMUR_HASH_2"
    }

    private enum ListedHashFunction: String, ConfigEnum {
        case unset = "DEFAULT_HASH"
        case xxHash = "XX_HASH"
        case murmurHash2 = "MURMUR_HASH_2"
    }

    private enum Selection: String, ConfigEnum {
        case draws = "N_CHOICES"
        case fullScan = "FULL_SCAN"
    }

    private enum Basis: String, ConfigEnum {
        case hosts = "HEALTHY_HOSTS_NUM"
        case weights = "HEALTHY_HOSTS_WEIGHT"
    }
}

extension ZoneAware {
    /// What both messages of the name `ZoneAwareLbConfig` have.
    init(_ node: ConfigNode) {
        self.init()
        routingEnabled = node.percent("routing_enabled").map { UInt8($0) } ?? routingEnabled
        minimumClusterSize = node.uint64IfSet("min_cluster_size").map { Int(clamping: $0) } ?? minimumClusterSize
        failsTrafficOnPanic = node.bool("fail_traffic_on_panic")
    }
}

/// `core.v3.HealthStatus` as configuration writes it.
enum ConfiguredHealth: String, ConfigEnum {
    case unknown = "UNKNOWN"
    case healthy = "HEALTHY"
    case unhealthy = "UNHEALTHY"
    case draining = "DRAINING"
    case timeout = "TIMEOUT"
    case degraded = "DEGRADED"

    var status: HealthStatus {
        switch self {
        case .unknown, .healthy: .healthy
        case .unhealthy: .unhealthy
        case .draining: .draining
        case .timeout: .timeout
        case .degraded: .degraded
        }
    }

    /// What discovery's word says of a host.
    var flags: HostHealth {
        switch self {
        case .unknown, .healthy: []
        case .unhealthy: .unhealthy
        case .draining: .draining
        case .timeout: .timedOut
        case .degraded: .degraded
        }
    }
}

extension ConfigNode {
    /// A `type.v3.Percent`; nil when absent.
    func percent(_ name: String) -> Double? { message(name)?.double("value") }
}
