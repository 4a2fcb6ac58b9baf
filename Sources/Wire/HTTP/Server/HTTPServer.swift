import Bytes
import Reactor
import TLS

/// A server for HTTP/1.1 and HTTP/2 on every loop of a group: by ALPN over TLS, by prior knowledge without.
///
/// Start it once. Connections stay on the loop that accepted them.
public final class HTTPServer: @unchecked Sendable {
    // Proof for `@unchecked`: `loops` and `listeners` are written once by `start` before it returns; each `ServerLoop` is used on
    // its own loop only.

    private let group: EventLoopGroup
    private let address: SocketAddress
    private let tls: TLSReference
    private let limits: HTTPLimits
    private let unixMode: UInt32
    private let makeService: @Sendable (EventLoop) -> any HTTPService
    private var loops: [LoopReference] = []
    private var listeners: [Listener] = []

    /// - Parameters:
    ///   - tls: nil serves plain HTTP. Offer `["h2", "http/1.1"]` as its protocols to serve HTTP/2.
    ///   - handler: called once a request, see `HTTPHandler`.
    public convenience init(
        group: EventLoopGroup, address: SocketAddress, tls: TLSContext? = nil, limits: HTTPLimits = .standard,
        handler: any HTTPHandler
    ) {
        self.init(group: group, address: address, tls: tls, limits: limits) { loop in
            HandlerService(handler, loop: loop, limits: limits)
        }
    }

    /// The hot face: `service` is called once for each loop, on it.
    ///
    /// - Parameter unixMode: Who may connect to a Unix socket, as the file's mode.
    public init(
        group: EventLoopGroup, address: SocketAddress, unixMode: UInt32 = 0o600, tls: TLSContext? = nil,
        limits: HTTPLimits = .standard, service: @escaping @Sendable (EventLoop) -> any HTTPService
    ) {
        self.group = group
        self.address = address
        self.tls = TLSReference(tls)
        self.limits = limits
        self.unixMode = unixMode
        makeService = service
    }

    /// Binds and begins to serve.
    ///
    /// - Returns: the bound address, with the port that the kernel chose for port 0.
    /// - Throws: `SystemError` if the address cannot be bound.
    public func start() async throws -> SocketAddress {
        precondition(loops.isEmpty, "a server is started once")
        for loop in group.all {
            let limits = limits
            let makeService = makeService
            loops.append(
                try await loop.perform {
                    LoopReference(ServerLoop(loop, limits: limits, service: makeService(loop)))
                })
        }
        var options = ListenerOptions()
        options.maximumConnections = max(1, limits.connections / max(1, group.all.count))
        options.unixMode = unixMode
        options.stream.highWaterMark = limits.writeHighWater
        options.stream.lowWaterMark = limits.writeHighWater / 4
        let byLoop = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.value.loop), $0) })
        let tls = tls
        listeners = try await Listener.listen(address, on: group, options: options) { socket in
            byLoop[ObjectIdentifier(socket.loop)]?.value.adopt(socket, tls: tls.value)
        }
        return listeners.first?.address ?? address
    }

    /// Uses another context for connections that come from now on, for instance with a renewed certificate.
    public func replaceTLS(_ context: TLSContext) { tls.replace(context) }

    /// Stops accepting, lets requests in progress finish, closes what is idle, and cuts what is left after `deadline`.
    public func drain(deadline: Duration = .seconds(5)) async {
        for listener in listeners { listener.close() }
        listeners = []
        for reference in loops { try? await reference.value.loop.perform { reference.value.drain() } }
        let clock = ContinuousClock()
        let end = clock.now + deadline
        while await openConnections() > 0, clock.now < end, let loop = loops.first?.value.loop {
            try? await loop.sleep(for: .milliseconds(10))
        }
        for reference in loops { try? await reference.value.loop.perform { reference.value.abortAll() } }
    }

    /// What all loops together have seen.
    public func counters() async -> HTTPServerCounters {
        var sum = HTTPServerCounters()
        for reference in loops {
            let part = try? await reference.value.loop.perform { reference.value.snapshot() }
            if let part { sum = sum + part }
        }
        return sum
    }

    /// Connections that are open now.
    public func openConnections() async -> Int {
        var sum = 0
        for reference in loops {
            sum += (try? await reference.value.loop.perform { reference.value.connections.count }) ?? 0
        }
        return sum
    }
}

/// Carries a `ServerLoop` between threads; only its own loop looks inside.
private struct LoopReference: @unchecked Sendable {
    let value: ServerLoop
    init(_ value: ServerLoop) { self.value = value }
}
