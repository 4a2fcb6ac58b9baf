import Bytes
import ClusterAPI
import ClusterClient
import HTTP
import MeshAPI
import MeshNode
import PodRuntime
import Reactor
import TLS
import Telemetry

/// The kubelet's part: pods, the Node object and its Lease, and the node's server.
struct KubeletRole: Sendable {
    let options: NodeOptions
    let client: KubeClient
    /// Nil where the node's certificate stays as it is.
    let rotation: ClientCertificateRotation?
    let network: any PodNetworking
    /// Nil where this node cannot serve the mesh.
    let mesh: MeshRole?
    let group: EventLoopGroup
    let metrics: MetricsRegistry
    let log: Log
    /// Why pods cannot be run now; nil when they can.
    let unready: @Sendable () async -> String?

    /// Takes up the pods that run, serves, and follows the API server until cancelled.
    func run() async throws {
        let loop = group.next
        let machine = await Machine.read(stateDirectory: "/", on: loop)
        var report = NodeReport(
            name: options.nodeName, addresses: [options.nodeAddress.description], machine: machine,
            version: NodeDaemon.version)
        report.port = options.port
        report.labels = options.labels

        let links = Informer<ServiceLink>(client, .services, log: log)
        var context = NodeContext(
            nodeName: options.nodeName, hostIPs: [options.nodeAddress.description],
            paths: NodePaths(state: options.stateDirectory, run: options.runDirectory, log: options.logDirectory),
            clusterDNS: options.clusterDNS, clusterDomain: options.clusterDomain, cgroupRoot: options.cgroupRoot,
            hiddenPaths: [options.stateDirectory, options.runDirectory] + options.hiddenPaths,
            capacity: ResourceRequirements.Amounts(
                milliCPU: machine.cpus * 1000, memory: machine.memory, ephemeralStorage: machine.storage),
            network: network, objects: ClusterPodObjects(client, links: links),
            events: ClusterPodEvents(
                EventRecorder(client, component: "kubelet", host: options.nodeName, loop: loop, log: log)),
            loop: loop)
        if let mesh { context.volumeDrivers = [MeshVolumes(workloads: mesh.workloads)] }
        context.probeSource = probeSource()
        let agent = try NodeAgent(context, metrics: NodeMetrics(metrics), log: log)
        await agent.recover()
        let server = try await serve(agent)
        log.info("node serves", ["address": "\(server)"])

        let registration = NodeRegistration(client, report, unready: unready, log: log)
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await links.run() }
            tasks.addTask { await registration.keepStatus() }
            tasks.addTask { await registration.keepLease() }
            tasks.addTask {
                // A container started before the services are known would lack their variables for ever.
                await links.waitForSync()
                await agent.follow(client)
            }
            await tasks.waitForAll()
        }
    }

    /// The admin port of a sidecar, and what may be changed there from outside.
    private static let proxyAdmin = PodPage(port: 15000, posts: ["/logging"])

    /// Meshed pods are asked from an address that capture leaves alone, so that the app itself answers and not its sidecar.
    private func probeSource() -> @Sendable (PodSpec, IPAddress.Family) -> IPAddress? {
        let hasIPv6: Bool
        do { hasIPv6 = try ProbeOrigin.establish() } catch {
            log.error("probes of meshed pods go through their sidecars", ["error": "\(error)"])
            return { _, _ in nil }
        }
        return { pod, family in
            guard !pod.hostNetwork, let plan = try? pod.capturePlan, plan.isOn, family == .v4 || hasIPv6 else {
                return nil
            }
            return ProbeOrigin.address(family)
        }
    }

    private func serve(_ agent: NodeAgent) async throws -> SocketAddress {
        let tls = try ServerCertificate(options).context()
        let (unready, metrics) = (unready, metrics)
        let handler = KubeletServer(
            agent: agent, metrics: { [metrics] in metrics.render() }, isHealthy: { true },
            pages: ["mesh": Self.proxyAdmin])
        let server = HTTPServer(
            group: group, address: .ip(options.nodeAddress, Port(options.port)), tls: tls, handler: handler)
        let bound = try await server.start()
        rotation?.onChange { [options, log] identity in
            do { server.replaceTLS(try ServerCertificate(options).context(own: identity)) } catch {
                log.error("the node's server goes on with its former certificate", ["error": "\(error)"])
            }
        }
        let health = HTTPServer(
            group: group, address: options.health,
            handler: HTTPClosureHandler { request, response in
                switch request.path {
                case "/healthz", "/livez": await response.send(status: 200, text: "ok")
                case "/readyz":
                    let reason = await unready()
                    await response.send(status: reason == nil ? 200 : 503, text: reason ?? "ok")
                case "/metrics":
                    await response.send(
                        status: 200, headers: ["content-type": MetricsRegistry.contentType], body: metrics.render())
                default: await response.send(status: 404, text: "404 page not found\n")
                }
            })
        _ = try await health.start()
        return bound
    }
}
