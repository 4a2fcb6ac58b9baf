import Bytes
import ClusterClient
import ClusterDNS
import Flags
import Glibc
import HTTP
import JSON
import Reactor
import Synchronization
import Telemetry

/// The program's parts put together: the name server, and the small HTTP servers beside it.
struct DNSProgram {
    private let options: DNSOptions
    private let group: EventLoopGroup
    private let log = Log.shared

    init(_ options: DNSOptions, _ group: EventLoopGroup) {
        self.options = options
        self.group = group
    }

    func run() async throws {
        let file = options.corefile ?? "Corefile"
        var text = try read(file)
        var config = try parse(text, file)
        var server = try await start(config)
        let current = CurrentServer(server)
        let side = try await serveBeside(config, current)
        var following = follow(server)
        log.info("serving", ["corefile": file, "loops": "\(group.all.count)"])
        let trimming = releaseStartupCode(current)
        defer { trimming.cancel() }
        for await event in events(config) {
            guard event == .lookAtCorefile else { break }
            guard let fresh = try? read(file), fresh != text else { continue }
            text = fresh
            do {
                // The new server binds beside the old one (SO_REUSEPORT); only then does the old one go.
                let nextConfig = try parse(text, file)
                let next = try await start(nextConfig, replacing: true)
                let (oldServer, oldFollowing) = (server, following)
                (config, server, following) = (nextConfig, next, follow(next))
                current.replace(next)
                oldFollowing.cancel()
                await oldServer.close()
                log.info("Corefile reloaded", ["corefile": file])
            } catch {
                log.error("the changed Corefile cannot be used, the old one stays in force", ["error": "\(error)"])
            }
        }
        // Clients learn that this server goes before it is gone (`lameduck`).
        try? await group.all[0].sleep(for: config.lameDuck)
        following.cancel()
        await server.close()
        for http in side { await http.drain(deadline: .seconds(1)) }
    }

    private enum Event { case stop, lookAtCorefile }

    /// What the program waits for: a signal to end, and the times to look whether the Corefile changed.
    private func events(_ config: ServerConfig) -> AsyncStream<Event> {
        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        let loop = group.all[0]
        let tasks = [
            loop.task {
                await waitForEnd()
                sink.yield(.stop)
            },
            loop.task {
                while config.reloads, (try? await loop.sleep(for: config.reloadInterval)) != nil {
                    sink.yield(.lookAtCorefile)
                }
            },
        ]
        sink.onTermination = { _ in for task in tasks { task.cancel() } }
        return events
    }

    /// Once the cluster is read, what it took to get there (TLS, JSON, the Corefile) need not stay in memory.
    private func releaseStartupCode(_ server: CurrentServer) -> Task<Void, Never> {
        let loop = group.all[0]
        return loop.task {
            while !server.value.isReady { guard (try? await loop.sleep(for: .seconds(1))) != nil else { return } }
            guard (try? await loop.sleep(for: .seconds(1))) != nil else { return }
            ResidentCode.releaseStartup()
        }
    }

    private func follow(_ server: DNSServer) -> Task<Void, Never> { group.all[0].task { await server.run() } }

    private func read(_ file: String) throws -> String {
        // As CoreDNS without a Corefile: a server that has nothing to say.
        if options.corefile == nil, !Files.exists(file) { return ".:\(options.port) {\n errors\n}\n" }
        return try Files.readText(file, limit: 1 << 20)
    }

    private func parse(_ text: String, _ file: String) throws -> ServerConfig {
        try ServerConfig(
            corefile: text, file: file, defaultPort: options.port, environment: Self.environment(),
            readFile: { try Files.readText($0, limit: 1 << 20) })
    }

    private func start(_ config: ServerConfig, replacing: Bool = false) async throws -> DNSServer {
        let loop = group.all[0]
        return try await DNSServer.start(config, group: group, replacing: replacing, log: log) { kubeconfig in
            let cluster: KubeConfig
            if let kubeconfig {
                let text = try Files.readText(kubeconfig, limit: 1 << 20)
                guard let document = try? JSONValue.parse(text) else {
                    throw FlagError("\(kubeconfig): a kubeconfig for weft-dns must be written as JSON")
                }
                let directory = kubeconfig.lastIndex(of: "/").map { String(kubeconfig[..<$0]) } ?? "."
                cluster = try KubeConfig(document: document, directory: directory)
            } else if let own = try KubeConfig.inCluster(environment: Self.environment()) {
                cluster = own
            } else {
                throw FlagError(
                    "plugin kubernetes: not in a pod (no KUBERNETES_SERVICE_HOST), and no kubeconfig option is given")
            }
            return KubeClient(try HTTPTransport(cluster, on: loop, userAgent: "weft-dns/v0.1.0"))
        }
    }

    /// `health`, `ready` and `prometheus`, each on the address that it was given.
    private func serveBeside(_ config: ServerConfig, _ server: CurrentServer) async throws -> [HTTPServer] {
        var answers: [SocketAddress: [String: @Sendable () async -> (Int, String)]] = [:]
        if let address = config.health {
            answers[address, default: [:]]["/health"] = { (200, "OK") }
        }
        if let address = config.ready {
            answers[address, default: [:]]["/ready"] = { server.value.isReady ? (200, "OK") : (503, "kubernetes") }
        }
        if let address = config.metrics {
            answers[address, default: [:]]["/metrics"] = { (200, await server.value.metrics()) }
        }
        var servers: [HTTPServer] = []
        for (address, paths) in answers {
            let http = HTTPServer(
                group: group, address: address,
                handler: HTTPClosureHandler { request, response in
                    guard let answer = paths[String(request.path)] else {
                        return await response.send(status: 404, text: "not found\n")
                    }
                    let (status, text) = await answer()
                    await response.send(status: status, text: text)
                })
            _ = try await http.start()
            servers.append(http)
        }
        return servers
    }

    /// Returns after SIGTERM or SIGINT.
    private func waitForEnd() async {
        guard let signals = try? Signals.stream([SIGTERM, SIGINT], on: group.all[0]) else { return }
        for await signal in signals {
            log.info("stopping", ["signal": "\(signal)"])
            break
        }
    }

    private static func environment() -> [String: String] {
        var result: [String: String] = [:]
        var pointer = environ
        while let entry = pointer.pointee {
            let parts = String(cString: entry).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { result[String(parts[0])] = String(parts[1]) }
            pointer += 1
        }
        return result
    }
}

/// The server that is in force; another one after each reload.
private final class CurrentServer: Sendable {
    private let server: Mutex<DNSServer>

    init(_ server: DNSServer) { self.server = Mutex(server) }

    var value: DNSServer { server.withLock { $0 } }

    func replace(_ next: DNSServer) { server.withLock { $0 = next } }
}
