import Bytes
public import ClusterClient
import DNSMessage
public import Reactor
public import Telemetry

/// A name server as a Corefile describes it: on every loop, over UDP and TCP, for all its ports.
public final class DNSServer: Sendable {
    private let group: EventLoopGroup
    private let log: Log
    /// By port: one server a loop.
    private let servers: [UInt16: [LoopServer]]
    private let datagrams: [DatagramSocket]
    private let listeners: [Listener]
    private let sources: [ClusterZoneSource]
    public let config: ServerConfig

    /// TCP connections a loop at most; more wait in the backlog.
    static let connectionLimit = 4096

    /// Binds everything; a port that is taken is an error that names it.
    ///
    /// - Parameters:
    ///   - replacing: an earlier server of this process holds the ports and will be closed: share them with it.
    ///   - client: how a block's cluster is reached, by its kubeconfig (nil: the pod's own account).
    public static func start(
        _ config: ServerConfig, group: EventLoopGroup, replacing: Bool = false, log: Log,
        client: (String?) throws -> KubeClient
    ) async throws -> DNSServer {
        let ports = Dictionary(grouping: config.blocks, by: \.port)
        var servers: [UInt16: [LoopServer]] = [:]
        var datagrams: [DatagramSocket] = []
        var listeners: [Listener] = []
        var sources: [ClusterZoneSource] = []
        for (port, blocks) in ports {
            let loopServers = group.all.map { LoopServer(blocks, on: $0, log: log) }
            servers[port] = loopServers
            let addresses = Array(Set(blocks.flatMap { $0.bind.isEmpty ? [.anyV4] : $0.bind }))
            for address in addresses {
                let socketAddress = SocketAddress(IPEndpoint(address, Port(rawValue: port)))
                for server in loopServers {
                    datagrams.append(
                        try await server.loop.perform {
                            try DatagramSocket(socketAddress, on: server.loop, reusePort: true, handler: server)
                        })
                }
                var options = ListenerOptions()
                options.maximumConnections = connectionLimit
                options.stream.inputLimit = 2 + 65_535 + 16_384
                listeners += try await listen(socketAddress, group, options, replacing, loopServers)
            }
            for (index, block) in blocks.enumerated() {
                guard let options = block.kubernetes, let loop = group.all.first else { continue }
                sources.append(
                    ClusterZoneSource(try client(block.kubeconfig), options, loop: loop) { zone in
                        for server in loopServers { server.loop.submit { server.setZone(zone, block: index) } }
                    })
            }
        }
        return DNSServer(config, group, log, servers, datagrams, listeners, sources)
    }

    private static func listen(
        _ address: SocketAddress, _ group: EventLoopGroup, _ options: ListenerOptions, _ replacing: Bool,
        _ servers: [LoopServer]
    ) async throws -> [Listener] {
        let onAccept: @Sendable (StreamSocket) -> Void = { stream in
            guard let server = servers.first(where: { $0.loop === stream.loop }) else { return }
            stream.handler = StreamSession(server, stream)
        }
        guard replacing else {
            return try await Listener.listen(address, on: group, options: options, onAccept: onAccept)
        }
        var options = options
        options.reusePort = true
        var listeners: [Listener] = []
        for loop in group.all {
            listeners.append(
                try await loop.perform { [options] in
                    try Listener(address, on: loop, options: options, onAccept: onAccept)
                })
        }
        return listeners
    }

    private init(
        _ config: ServerConfig, _ group: EventLoopGroup, _ log: Log, _ servers: [UInt16: [LoopServer]],
        _ datagrams: [DatagramSocket], _ listeners: [Listener], _ sources: [ClusterZoneSource]
    ) {
        self.config = config
        self.group = group
        self.log = log
        self.servers = servers
        self.datagrams = datagrams
        self.listeners = listeners
        self.sources = sources
    }

    /// Follows the cluster until the surrounding task is cancelled.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for source in sources { group.addTask { await source.run() } }
        }
    }

    /// Whether every cluster has been read once.
    public var isReady: Bool { sources.allSatisfy(\.isSynced) }

    /// Stops answering.
    public func close() async {
        for listener in listeners { listener.close() }
        for socket in datagrams { socket.loop.submit { socket.close() } }
        for server in servers.values.joined() { server.loop.submit { server.close() } }
    }

    /// Prometheus text with CoreDNS's names.
    public func metrics() async -> String {
        var text = ""
        func family(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: Int)]) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
            for (labels, value) in samples { text += "\(name){\(labels)} \(value)\n" }
        }
        var requests: [String: Int] = [:]
        var responses: [String: Int] = [:]
        var cache: [String: [String: Int]] = [:]
        var rejected: [String: Int] = [:]
        for (port, loopServers) in servers {
            let server = "server=\"dns://:\(port)\",zone=\".\""
            for loopServer in loopServers {
                let reading = await Reading.of(loopServer)
                for (kind, count) in reading.counters.requests {
                    let family = kind.isV6 ? "2" : "1"
                    requests[
                        "\(server),view=\"\",proto=\"\(kind.isTCP ? "tcp" : "udp")\",family=\"\(family)\",type=\"\(kind.type)\"",
                        default: 0] += count
                }
                for (code, count) in reading.counters.responses {
                    responses["\(server),view=\"\",rcode=\"\(code)\",plugin=\"\"", default: 0] += count
                }
                for (name, count) in reading.cache { cache[name, default: [:]][server, default: 0] += count }
                rejected[server, default: 0] += reading.rejected
            }
        }
        func sorted(_ samples: [String: Int]) -> [(labels: String, value: Int)] {
            samples.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
        family("coredns_dns_requests_total", "counter", "Questions by protocol, family and type.", sorted(requests))
        family("coredns_dns_responses_total", "counter", "Answers by code.", sorted(responses))
        for (name, samples) in cache.sorted(by: { $0.key < $1.key }) {
            family("coredns_cache_\(name)", name == "entries" ? "gauge" : "counter", "Cache \(name).", sorted(samples))
        }
        family(
            "coredns_forward_max_concurrent_rejects_total", "counter",
            "Questions refused because too many were under way.", sorted(rejected))
        return text
    }

    private struct Reading: Sendable {
        var counters: LoopServer.Counters
        var cache: [String: Int] = [:]
        var rejected = 0

        /// Counters are the loop's own: they are read there.
        static func of(_ server: LoopServer) async -> Reading {
            let reading = try? await server.loop.perform {
                var reading = Reading(counters: server.counters)
                for block in server.blocks {
                    reading.rejected += block.forwarder?.rejected ?? 0
                    guard let cache = block.cache else { continue }
                    reading.cache["hits_total", default: 0] += cache.hits
                    reading.cache["misses_total", default: 0] += cache.misses
                    reading.cache["evictions_total", default: 0] += cache.evictions
                    reading.cache["entries", default: 0] += cache.count.positive + cache.count.negative
                }
                return reading
            }
            return reading ?? Reading(counters: LoopServer.Counters())
        }
    }
}
