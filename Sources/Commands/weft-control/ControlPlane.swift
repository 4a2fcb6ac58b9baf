import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import Controllers
import Glibc
import HTTP
import MeshControl
import Reactor
import Scheduler
import Store
import TLS
import Telemetry

/// The parts of the control plane, put together and taken down in order.
struct ControlPlane: Sendable {
    private let settings: ControlSettings
    private let group: EventLoopGroup
    private let log = Log.shared

    /// How long requests in progress may take once the process is told to stop.
    private static let drainTime = Duration.seconds(5)

    init(_ settings: ControlSettings, group: EventLoopGroup) {
        self.settings = settings
        self.group = group
    }

    /// Serves until SIGTERM or SIGINT.
    func run() async throws {
        let credentials = try ClusterCredentials(dataDirectory: settings.dataDirectory)
        let advertised = settings.advertiseAddress ?? Self.outwardAddress() ?? .loopbackV4
        let store = try SQLiteStore(path: settings.database)
        defer { store.close() }

        var config = APIServerConfig(
            serviceCIDRs: settings.serviceRanges, advertiseAddress: advertised,
            serviceAccountIssuer: "https://kubernetes.default.svc.\(settings.clusterDomain)",
            serviceAccountKey: credentials.tokenKey)
        config.nodePorts = settings.nodePorts
        config.clusterDomain = settings.clusterDomain
        config.securePort = settings.securePort
        let injector = PodInjector(settings.sidecar)
        config.admissions = [SidecarAdmission(injector: injector)]
        if settings.runsControllers { config.admissions.append(MissingControllerAdmission()) }
        let trust = TrustPool([credentials.authority.certificate])
        if let file = settings.tokenFile { config.staticTokens = try APIServer.staticTokens(try Files.readText(file)) }
        // Node agents show their own client certificates, which the authority signed; their addresses are in none of them.
        config.nodeAgentTLS = try TLSContext(
            connecting: trust, identity: try credentials.nodeAgentClient(), verification: .trust)
        let mesh = MeshPages()
        config.paths = [
            ServedPath(prefix: "/mesh/", readerRole: "mesh-reader") { request throws(StatusError) in
                ServedPath.Answer(body: try await mesh.page(request.pathSegments ?? []).encoded())
            }
        ]
        let api = APIServer(store: store, config: config)
        try await api.prepare()

        let identity = try credentials.serving(
            names: ClusterCredentials.servingNames(settings, advertised: advertised))
        let tls = try TLSContext(
            serving: [identity], clientCertificates: .requested, trust: trust, protocols: ["h2", "http/1.1"])
        let server = HTTPServer(
            group: group, address: .ip(settings.bindAddress, Port(settings.securePort), scope: 0), tls: tls,
            limits: APIServer.limits, handler: api.handler)
        let bound = try await server.start()
        try writeKubeconfigs(credentials, advertised: advertised)
        log.info("serving", ["address": "\(bound)", "advertised": "\(advertised)", "data": settings.dataDirectory])

        try await InjectionServer.start(injector, settings, api, identity, group: group, log: log)
        let served = try await MeshServers.start(
            settings, api, credentials, serving: identity, pages: mesh, metrics: config.metrics, log: log)
        let work = startWork(api, credentials)
        try await waitForStop()
        log.info("stopping")
        work.cancel()
        await work.value
        await served?.stop()
        api.beginStopping()
        await server.drain(deadline: Self.drainTime)
    }

    /// Controllers and scheduler, beside each other, on loops of the group.
    private func startWork(_ api: APIServer, _ credentials: ClusterCredentials) -> Task<Void, Never> {
        var config = ControllersConfig()
        config.clusterCIDRs = settings.clusterRanges
        config.nodeMaskV4 = settings.nodeMaskV4
        config.nodeMaskV6 = settings.nodeMaskV6
        config.rootCA = credentials.authority.certificate.pem
        config.nodeAuthority = credentials.authority
        config.signingDuration = settings.signingDuration.components.seconds
        let controllersLoop = group.next
        let schedulerLoop = group.next
        let settings = settings
        let finished = config
        return Task {
            await withTaskGroup(of: Void.self) { tasks in
                if settings.runsControllers {
                    tasks.addTask(executorPreference: controllersLoop) {
                        let client = KubeClient(api.transport(as: .controllerManager))
                        await runControllers(ControllerContext(client: client, loop: controllersLoop), finished)
                    }
                }
                if settings.runsScheduler {
                    tasks.addTask(executorPreference: schedulerLoop) {
                        await Scheduler(KubeClient(api.transport(as: .scheduler)), loop: schedulerLoop).run()
                    }
                }
                tasks.addTask(executorPreference: controllersLoop) { await api.maintain() }
                await tasks.waitForAll()
            }
        }
    }

    /// The administrator's credentials: for this machine, and where asked.
    private func writeKubeconfigs(_ credentials: ClusterCredentials, advertised: IPAddress) throws {
        let reachable =
            settings.bindAddress == .anyV4 || settings.bindAddress == .anyV6 ? advertised : settings.bindAddress
        let server = "https://\(SocketAddress.ip(reachable, Port(settings.securePort), scope: 0))"
        for path in [settings.dataDirectory + "/admin.kubeconfig", settings.kubeconfigOut].compactMap({ $0 }) {
            let text = KubeconfigText.make(
                server: server, authority: credentials.authority.certificate, user: "weft-admin",
                identity: try credentials.issue(user: "weft-admin", groups: ["system:masters"]))
            try ClusterCredentials.write(path, text, isSecret: true)
        }
    }

    private func waitForStop() async throws {
        let signals = try Signals.stream([SIGTERM, SIGINT], on: group.all[0])
        for await _ in signals { return }
    }

    /// The address that packets to elsewhere leave from; nothing is sent to find out.
    private static func outwardAddress() -> IPAddress? {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { Glibc.close(descriptor) }
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = UInt16(53).bigEndian
        // TEST-NET-1 (RFC 5737): reached by the default route and nothing else.
        target.sin_addr.s_addr = UInt32(0xC000_0201).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let connected = withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        guard connected == 0 else { return nil }
        var own = sockaddr_in()
        var length = size
        let named = withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return named == 0 ? IPAddress(v4: UInt32(bigEndian: own.sin_addr.s_addr)) : nil
    }
}
