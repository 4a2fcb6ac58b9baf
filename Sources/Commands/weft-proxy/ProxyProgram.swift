import Bytes
import Flags
import Glibc
import HTTP
import Proxy
import Reactor
import XDS

/// The program's parts put together.
struct ProxyProgram {
    private let options: ProxyOptions
    private let group: EventLoopGroup

    init(_ options: ProxyOptions, _ group: EventLoopGroup) {
        self.options = options
        self.group = group
    }

    /// Reads the bootstrap and says whether it could be used, as Envoy's `--mode validate` does.
    static func validate(_ options: ProxyOptions) -> CInt {
        do {
            let bootstrap = try bootstrap(options)
            try ProxyServer.validate(bootstrap)
            let path = options.server.configPath
            say("configuration '\(path.isEmpty ? "--config-yaml" : path)' OK\n")
            return 0
        } catch {
            say("error: \(error)\n", to: STDERR_FILENO)
            return 1
        }
    }

    private static func bootstrap(_ options: ProxyOptions) throws -> ConfigNode {
        let (path, yaml) = (options.server.configPath, options.server.configYAML)
        var texts: [ConfigText] = []
        if !path.isEmpty { texts.append(ConfigText(name: path, text: try Files.readText(path))) }
        if !yaml.isEmpty { texts.append(ConfigText(name: "--config-yaml", text: yaml)) }
        return try Bootstrap.read(texts, ignoringUnknown: options.server.allowsUnknownStaticFields)
    }

    func run() async throws {
        try setUpLog()
        if let most = DescriptorLimit.raise() { ProxyLog.info(.main, "at most \(most) open files") }
        let workers = try EventLoopGroup(count: options.concurrency, name: "worker")
        let server = try ProxyServer(workers, control: group.all[0], options.server)
        let (quits, quit) = AsyncStream.makeStream(of: Void.self)
        let http = try await load(server, AdminServer(server) { quit.yield() })
        // What reading the configuration took need not stay in memory.
        Heap.giveBack()
        ResidentCode.releaseStartup()
        ProxyLog.info(.main, "all dependencies initialized. starting workers")
        let signals = try Signals.stream([SIGTERM, SIGINT, SIGUSR1, SIGHUP], on: group.all[0])
        let drainTime = min(options.server.drainTime, options.server.parentShutdownTime)
        let listening = group.all[0].task {
            var isDraining = false
            for await signal in signals {
                switch signal {
                case SIGUSR1:
                    server.logs.reopen()
                    ProxyLog.shared.reopen()
                case SIGHUP:
                    ProxyLog.warning(.main, "caught and eating SIGHUP. See documentation for how to hot restart.")
                case SIGTERM where !isDraining:
                    isDraining = true
                    ProxyLog.warning(.main, "caught ENVOY_SIGTERM")
                    group.all[0].task {
                        let left = await server.drain(within: drainTime)
                        if left > 0 { ProxyLog.warning(.main, "\(left) connections are cut: the drain time is over") }
                        quit.yield()
                    }
                default:
                    ProxyLog.warning(.main, "caught \(signal == SIGTERM ? "ENVOY_SIGTERM again" : "SIGINT")")
                    quit.yield()
                }
            }
        }
        for await _ in quits { break }
        ProxyLog.info(.main, "shutting down server instance")
        listening.cancel()
        await http?.drain(deadline: .seconds(1))
        await server.close()
        await workers.shutdown()
        ProxyLog.info(.main, "exiting")
    }

    /// Reads the bootstrap and does what it says. Of its text and its messages, several times the size of what is made of
    /// them, nothing outlives the call.
    private func load(_ server: ProxyServer, _ admin: AdminServer) async throws -> HTTPServer? {
        let bootstrap = try Self.bootstrap(options)
        let adminOptions = try AdminOptions(bootstrap)
        let http = try await start(admin, adminOptions)
        if adminOptions == nil { ProxyLog.warning(.main, "No admin address given, so no admin HTTP server started.") }
        try await server.load(bootstrap)
        return http
    }

    private func setUpLog() throws {
        let log = ProxyLog.shared
        if !options.server.logPath.isEmpty { try log.open(options.server.logPath) }
        if !options.server.logFormat.isEmpty { log.setFormat(options.server.logFormat) }
        log.set(options.level)
        for (component, level) in options.componentLevels { log.set(component, level) }
    }

    private func start(_ admin: AdminServer, _ options: AdminOptions?) async throws -> HTTPServer? {
        guard let options else { return nil }
        let (http, address) = try await admin.start(at: options.address, on: group)
        ProxyLog.info(.main, "admin address: \(address)")
        let path = self.options.server.adminAddressPath
        if !path.isEmpty { try Files.writeAtomically(path, "\(address)") }
        return http
    }
}
