import Reactor
import Synchronization
import XDS

/// What those who build snapshots from configuration need to know besides the resource itself. On the main loop only.
package final class BuildContext {
    private var managers = [BuildContext.callPrefix: BuildContext.callStatsID]
    private var tcpProxies: [String: Int] = [:]
    let statNames = StatNames()
    /// Route configurations that are asked for by name.
    let routes = NamedSubscriptions(.routeConfiguration)
    /// Filters that are asked for by name.
    let extensions = NamedSubscriptions(.extensionConfig)
    /// Connection managers that have such filters.
    let filterChains = FilterChainPlaces()
    var namedKinds: [NamedSubscriptions] { [routes, extensions] }
    /// nil for kinds that are not asked for by name here.
    func subscriptions(_ kind: ResourceKind) -> NamedSubscriptions? { namedKinds.first { $0.kind == kind } }
    /// Of the listener that is being built.
    var listenerStatName: String?
    /// Its connections leave the machine (`traffic_direction`).
    var listenerIsOutbound = false
    /// What the proxy's own requests are counted under.
    static let callPrefix = "async-client"
    static let callStatsID = 0
    let logs: LogFiles
    // Most clusters say the same of these.
    var clusterOptions = Sharing<ClusterSettings.Options>()
    var balances = Sharing<BalanceConfig>()
    /// The cluster of services that this proxy is of, as the bootstrap's node says.
    var serviceCluster = ""
    /// Counters of filters.
    package var counters = CounterNames()

    /// What connections of all listeners take of: `global_downstream_max_connections`, else the runtime key of old.
    let globalAllowance: ConnectionAllowance
    let globalLimit = GlobalConnectionLimit()
    var overload: OverloadSettings?

    /// The bootstrap's own, by name.
    var staticSecrets: [String: Resource] = [:]
    /// The bootstrap names a control plane for all kinds of resources (`ads_config`).
    var hasAggregatedSource = false

    /// Where listeners come from that can be asked for by name; nil where none can.
    var listenersOnDemand: ConfigSource.Origin?
    /// Those to which leads what is being read.
    var mentionedClusters: Set<ClusterID> = []

    /// Clusters that static configuration has; nil while that is not known.
    package var clusterNames: Set<String>?
    /// `node.id` of the bootstrap.
    package var nodeName = ""
    var serviceZone = ""
    /// `cluster_manager.local_cluster_name`, and where in it this proxy is; nil for none.
    var home: (cluster: ClusterID, locality: Locality)?
    var runtime = RuntimeLayers()
    /// Which statistics are told.
    var statSettings = StatSettings()
    /// Each once, whoever asked for it.
    var traceExports: [TraceExport] = []
    /// The same of access logs.
    var logServices: [LogService] = []
    /// Of managers that name no provider of their own.
    var commonTraceExport: TraceExport?

    package init(logs: LogFiles) {
        self.logs = logs
        globalAllowance = ConnectionAllowance { [globalLimit] in globalLimit.value }
    }

    /// Where the counters of connection managers with this prefix stand in each worker: two managers of one prefix share
    /// them, as in Envoy.
    func managerStatsID(_ prefix: String) -> Int {
        if let id = managers[prefix] { return id }
        managers[prefix] = managers.count
        return managers.count - 1
    }

    /// As `managerStatsID`, for TCP proxies.
    func tcpStatsID(_ prefix: String) -> Int {
        if let id = tcpProxies[prefix] { return id }
        tcpProxies[prefix] = tcpProxies.count
        return tcpProxies.count - 1
    }

    package var tcpPrefixes: [String] { tcpProxies.sorted { $0.value < $1.value }.map(\.key) }

    /// Where the counters of a block stand in each worker; see `StatBlock`.
    func stats<Block: StatBlock>(_ block: Block.Type, _ scope: StatScope) -> StatBlockID<Block> {
        statNames.id(block, scope)
    }

    /// Prefixes in the order of their numbers.
    package var managerPrefixes: [String] { managers.sorted { $0.value < $1.value }.map(\.key) }
}

/// How many connections all listeners may hold together. Any thread.
final class GlobalConnectionLimit: Sendable {
    private let configured = Atomic<Int>(-1)
    private let key = RuntimeKey.named("overload.global_downstream_max_connections")

    func set(_ overload: OverloadSettings?) {
        var most = -1
        for monitor in overload?.monitors ?? [] {
            if case .connections(let limit) = monitor.resource { most = limit }
        }
        configured.store(most, ordering: .relaxed)
    }

    var value: Int? {
        let most = configured.load(ordering: .relaxed)
        return most >= 0 ? most : key?.value.map { Int(clamping: $0) }
    }
}
