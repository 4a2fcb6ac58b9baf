import Glibc
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
            try ProxyServer.validate(try bootstrap(options))
            ProxyOptions.say("configuration '\(options.configPath ?? "--config-yaml")' OK\n")
            return 0
        } catch {
            ProxyOptions.say("error: \(error)\n", to: STDERR_FILENO)
            return 1
        }
    }

    private static func bootstrap(_ options: ProxyOptions) throws -> ConfigNode {
        var texts: [ConfigText] = []
        if let path = options.configPath { texts.append(ConfigText(name: path, text: try Files.readText(path))) }
        if let yaml = options.configYAML { texts.append(ConfigText(name: "--config-yaml", text: yaml)) }
        return try Bootstrap.read(texts, ignoringUnknown: options.allowsUnknownStaticFields)
    }

    func run() async throws {
        let bootstrap = try Self.bootstrap(options)
        let workers = try EventLoopGroup(count: options.concurrency, name: "worker")
        let server = try ProxyServer(workers, control: group.all[0], logInterval: options.logInterval)
        try await server.load(bootstrap)
        for await _ in try Signals.stream([SIGTERM, SIGINT], on: group.all[0]) { break }
        await server.close()
        await workers.shutdown()
    }
}
