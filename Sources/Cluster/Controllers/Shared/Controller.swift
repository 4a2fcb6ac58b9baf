import Bytes
public import ClusterClient
public import Reactor
public import TLS
import Telemetry

/// Something that keeps a part of the cluster as its objects say it should be.
///
/// Made before the informers run, so that it can add its handlers; run once they have synced.
protocol Controller: Sendable {
    /// As kube-controller-manager names it.
    var name: String { get }
    /// Works until the surrounding task is cancelled.
    func run() async
}

/// What every controller is made with.
public struct ControllerContext: Sendable {
    public var client: KubeClient
    public var informers: SharedInformers
    public var loop: EventLoop
    public var log: Log
    /// The time of day; an input, so that tests decide it.
    public var now: @Sendable () -> Timestamp

    public init(
        client: KubeClient, loop: EventLoop, log: Log = .shared, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.client = client
        self.informers = SharedInformers(client)
        self.loop = loop
        self.log = log
        self.now = now
    }

    func recorder(_ component: String) -> EventRecorder {
        EventRecorder(client, component: component, loop: loop, log: log)
    }
}

/// What the controllers must be told about the cluster.
public struct ControllersConfig: Sendable {
    /// Pod addresses are cut from these, one block a node and family. Empty turns node address ranges off.
    public var clusterCIDRs: [CIDR] = []
    /// Prefix length of a node's IPv4 block.
    public var nodeMaskV4: UInt8 = 24
    /// Prefix length of a node's IPv6 block.
    public var nodeMaskV6: UInt8 = 64
    /// PEM of the authority that signed the API server's certificate; published in every namespace.
    public var rootCA: String = ""
    /// How long a node may be silent before it counts as not ready.
    public var nodeMonitorGracePeriod: Duration = .seconds(50)
    /// How often silence is looked for.
    public var nodeMonitorPeriod: Duration = .seconds(5)
    /// Signs the certificates of nodes; nil leaves that to others.
    public var nodeAuthority: CertificateAuthority?
    /// Seconds that these live at most, as kube-controller-manager's `--cluster-signing-duration`.
    public var signingDuration: Int64 = CertificateTemplate.year
    /// Names as kube-controller-manager's `--controllers` takes them, that are not run.
    public var disabled: Set<String> = []

    public init() {}
}

/// Runs all controllers until the surrounding task is cancelled.
public func runControllers(_ context: ControllerContext, _ config: ControllersConfig) async {
    var controllers: [any Controller] = [
        ReplicaSetController(context), DeploymentController(context), EndpointSliceController(context),
        EndpointsController(context), NamespaceController(context), ServiceAccountController(context),
        RootCAController(context, rootCA: config.rootCA), GarbageCollector(context),
        NodeLifecycleController(context, config), TaintEvictionController(context), PodGarbageCollector(context),
        EventExpiryController(context), NodeLoadBalancerController(context),
    ]
    if !config.clusterCIDRs.isEmpty { controllers.append(NodeIPAMController(context, config)) }
    if let authority = config.nodeAuthority {
        controllers.append(
            CertificateSigningController(context, authority: authority, lifetime: config.signingDuration))
    }
    controllers.removeAll { config.disabled.contains($0.name) }
    let running = controllers
    await withTaskGroup(of: Void.self) { group in
        group.addTask { await context.informers.run() }
        await context.informers.waitForSync()
        for controller in running { group.addTask { await controller.run() } }
    }
}
