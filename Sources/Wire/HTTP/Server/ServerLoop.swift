import Bytes
import Reactor
import TLS

/// What the connections of one server on one loop share: limits, scratch memory, the service, and the clock of their
/// time limits. An idle connection refers to this and owns no buffer.
final class ServerLoop {
    let loop: EventLoop
    let limits: HTTPLimits
    let service: any HTTPService
    let head: MessageHead
    var date = DateHeader()
    /// Output memory that waits for the next connection with something to say.
    var spareOutput = GrowingBytes()
    var counters = HTTPServerCounters()
    private(set) var connections: [ServerConnection] = []
    private(set) var isDraining = false
    private var sweeper: TimerHandle?
    private let sweepInterval: Duration
    let times: Times

    init(_ loop: EventLoop, limits: HTTPLimits, service: any HTTPService) {
        self.loop = loop
        self.limits = limits
        self.service = service
        head = MessageHead(capacity: limits.headerCount)
        times = Times(limits)
        sweepInterval = .nanoseconds(Int64(clamping: max(10_000_000, min(1_000_000_000, times.shortest / 4))))
    }

    /// The limits of `HTTPLimits` in nanoseconds, as they are added to `now` for every request.
    struct Times {
        let header, body, idle, write, handshake: UInt64

        init(_ limits: HTTPLimits) {
            header = Self.nanoseconds(limits.headerTimeout)
            body = Self.nanoseconds(limits.bodyTimeout)
            idle = Self.nanoseconds(limits.idleTimeout)
            write = Self.nanoseconds(limits.writeTimeout)
            handshake = Self.nanoseconds(limits.handshakeTimeout)
        }

        var shortest: UInt64 { min(header, body, idle, min(write, handshake)) }

        /// At most a year, so that adding it to a time cannot overflow.
        private static func nanoseconds(_ duration: Duration) -> UInt64 {
            let seconds = min(max(duration.components.seconds, 0), 365 * 86400)
            return UInt64(seconds) * 1_000_000_000 + UInt64(max(duration.components.attoseconds, 0)) / 1_000_000_000
        }
    }

    /// A deadline that does not come.
    static let never = UInt64.max
    /// The loop's time in nanoseconds.
    var now: UInt64 { loop.now.nanoseconds }

    deinit { spareOutput.deallocate() }

    func adopt(_ socket: StreamSocket, tls: TLSContext?) {
        counters.connections += 1
        let connection: ServerConnection
        do {
            connection = try ServerConnection(socket, tls: tls, loop: self)
        } catch {
            counters.handshakeFailures += 1
            socket.close()
            return
        }
        connection.index = connections.count
        connections.append(connection)
        connection.open()
        if sweeper == nil { scheduleSweep() }
    }

    func remove(_ connection: ServerConnection) {
        let index = connection.index
        guard index >= 0, index < connections.count, connections[index] === connection else { return }
        let last = connections.removeLast()
        if last !== connection {
            connections[index] = last
            last.index = index
        }
        connection.index = -1
    }

    /// Time limits are looked at here, all connections in one pass: setting one costs a store, and being late by a quarter of
    /// the shortest limit hurts nobody.
    private func scheduleSweep() {
        sweeper = loop.schedule(after: sweepInterval) { [weak self] in
            guard let self else { return }
            sweeper = nil
            let now = now
            for connection in connections where connection.deadline < now || connection.writeDeadline < now {
                connection.checkDeadlines(now)
            }
            if !connections.isEmpty { scheduleSweep() }
        }
    }

    /// The counters as they are now.
    func snapshot() -> HTTPServerCounters {
        var counters = counters
        counters.oversizedBodies = (service as? HandlerService)?.oversizedBodies ?? 0
        return counters
    }

    /// Lets exchanges in progress finish and closes everything else.
    func drain() {
        isDraining = true
        for connection in connections { connection.drain() }
    }

    func abortAll() {
        for connection in connections { connection.abortConnection() }
    }

    /// The `Date` field of this second.
    func withDate<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        date.update(Timestamp.now().seconds)
        return date.withBytes(body)
    }
}

/// What one loop of a server has seen. Plain integers: read them on the loop, or through `HTTPServer.counters`.
public struct HTTPServerCounters: Sendable, Hashable {
    public var connections = 0
    public var requests = 0
    /// Responses by the first digit of their status, index 1 … 5.
    public var responses = [0, 0, 0, 0, 0, 0]
    /// Messages that broke the protocol or a limit of the header block.
    public var violations = 0
    /// Bodies over the limit.
    public var oversizedBodies = 0
    /// Connections closed by one of the time limits while a request or answer was under way.
    public var timeouts = 0
    public var handshakeFailures = 0

    static func + (a: HTTPServerCounters, b: HTTPServerCounters) -> HTTPServerCounters {
        var sum = a
        sum.connections += b.connections
        sum.requests += b.requests
        for index in sum.responses.indices { sum.responses[index] += b.responses[index] }
        sum.violations += b.violations
        sum.oversizedBodies += b.oversizedBodies
        sum.timeouts += b.timeouts
        sum.handshakeFailures += b.handshakeFailures
        return sum
    }
}
