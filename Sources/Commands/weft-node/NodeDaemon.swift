import ClusterClient
import Glibc
import PodNetwork
import PodRuntime
import Reactor
import Telemetry

/// The roles of this node, wired together, from start to signal.
struct NodeDaemon: Sendable {
    static let version = "v1.36.0+weft"

    /// How long roles may take to end after a signal.
    private static let farewell: Duration = .seconds(3)

    private let options: NodeOptions
    private let group: EventLoopGroup

    init(_ options: NodeOptions, group: EventLoopGroup) {
        self.options = options
        self.group = group
    }

    /// Runs until SIGTERM or SIGINT. Pods, addresses and rules stay as they are: whoever starts next finds and keeps them.
    func run() async throws {
        let log = Log.shared
        log.configure(level: options.logLevel, format: options.logFormat)
        let metrics = MetricsRegistry()
        let loop = group.next
        let identity = try NodeCertificate.current(options)
        var renewed = options
        if let identity { renewed.kubeConfig.show(identity) }
        let options = renewed
        let transport = try HTTPTransport(options.kubeConfig, on: loop, userAgent: "weft-node/\(Self.version)")
        let client = KubeClient(transport)
        let rotation = try identity.map { try NodeCertificate.rotation($0, options, client, log: log) }
        let signals = try Signals.stream([SIGTERM, SIGINT], on: loop)
        let policy = try PolicyRole(options, client: client, metrics: metrics, log: log)
        let capture = CaptureGate(client)
        var gates: [any PodGate] = [capture]
        // Nothing is captured of a pod that policies do not let in.
        if let policy { gates.insert(policy.gate, at: 0) }
        let daemon = try await startPodNetwork(behind: gates)
        try await policy?.adopt(daemon)
        let events = EventRecorder(client, component: "weft-node", host: options.nodeName, loop: loop, log: log)
        let mesh =
            options.roles.contains(.kubelet)
            ? try MeshRole(options, events: events, metrics: metrics, log: log) : nil
        rotation?.onChange { identity in
            do {
                try transport.show(identity)
                try mesh?.workloads.use(identity)
            } catch { log.error("the node's new certificate cannot be shown", ["error": "\(error)"]) }
        }
        // Proxies that ran on while this process did not look for their sockets again.
        await mesh?.workloads.recover()

        try await withThrowingTaskGroup(of: Void.self) { roles in
            roles.addTask {
                for await signal in signals {
                    log.info("node ends, pods go on", ["signal": "\(signal)"])
                    throw Ended()
                }
            }
            if let daemon {
                let role = PodNetworkRole(
                    daemon: daemon, client: client, nodeName: options.nodeName, podCIDR: options.podCIDR, log: log)
                roles.addTask { await role.run() }
            }
            if let rotation { roles.addTask { await rotation.run() } }
            if let policy { roles.addTask { await policy.run() } }
            if let mesh { roles.addTask { await mesh.run() } }
            if options.roles.contains(.kubelet) {
                let network: any PodNetworking =
                    daemon.map { CapturedNetworking(network: DaemonNetworking($0), gate: capture) } ?? NoNetworking()
                let role = KubeletRole(
                    options: options, client: client, rotation: rotation, network: network, mesh: mesh,
                    group: group, metrics: metrics, log: log, unready: { [daemon] in await daemon?.unreadiness() })
                roles.addTask { try await role.run() }
            }
            if options.roles.contains(.serviceProxy) {
                let role = ServiceProxyRole(
                    options: options, client: client, loop: loop, metrics: metrics, log: log)
                roles.addTask { try await role.run() }
            }
            roles.addTask { try await releaseStartupCode(daemon) }
            defer { roles.cancelAll() }
            // Not `waitForAll`, which would wait for the others before it told of the one that failed.
            do {
                while try await roles.next() != nil {}
            } catch is Ended {
                // Watches of processes and of servers may not end by themselves; they end with this program.
                loop.execute { loop.schedule(after: Self.farewell) { exit(0) } }
            }
        }
        exit(0)
    }

    /// Once pods can run, what the start alone needed (flags, YAML, keys) need not stay in memory.
    private func releaseStartupCode(_ daemon: PodNetworkDaemon?) async throws {
        let loop = group.next
        repeat { try await loop.sleep(for: .seconds(2)) } while await daemon?.unreadiness() != nil
        ResidentCode.releaseStartup()
    }

    private func startPodNetwork(behind gates: [any PodGate]) async throws -> PodNetworkDaemon? {
        guard options.roles.contains(.podNetwork) else { return nil }
        var configuration = PodNetworkConfiguration(
            nodeName: options.nodeName, address: options.nodeAddress, backend: options.backend,
            clusterPrefixes: options.clusterCIDRs)
        configuration.stateDirectory = options.stateDirectory + "/pod-network"
        configuration.socket = options.runDirectory + ".cni.sock"
        let daemon = try PodNetworkDaemon(configuration, gate: PodGateRow(gates))
        try await daemon.start()
        return daemon
    }

    private struct Ended: Error {}
}
