import HTTP
import TLS

/// Finds out which HTTP a client speaks: ALPN says so, or its first bytes do (RFC 9113 §3.3: HTTP/2 begins with a preface that no
/// HTTP/1 request begins with). Then the codec takes its place.
final class DownstreamSniffer: ConnectionTerminal {
    private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    private let manager: ConnectionManager
    private var pending = GrowingBytes()
    /// The client is to be told once it is known in which words.
    private var isLeaving = false

    init(_ connection: ProxyConnection, _ manager: ConnectionManager) {
        self.manager = manager
        super.init(connection)
        connection.setTimer(Self.patience(manager.options))
    }

    deinit { pending.deallocate() }

    override func opened() {
        guard let name = connection.negotiatedProtocol else { return }
        replace(name == "h2")
    }

    override func received(_ bytes: UnsafeRawBufferPointer) {
        pending.append(bytes)
        let all = pending.bytes
        let count = min(all.count, Self.preface.utf8CodeUnitCount)
        let begins = UnsafeRawBufferPointer(rebasing: all[..<count])
            .elementsEqual(UnsafeRawBufferPointer(start: Self.preface.utf8Start, count: count))
        if begins, count < Self.preface.utf8CodeUnitCount { return }
        replace(begins)
        connection.terminal?.received(all)
    }

    /// Nanoseconds until a connection without a byte ends, 0 for never.
    private static func patience(_ options: ConnectionManager.Options) -> UInt64 {
        let (idle, duration) = (options.idleTimeout, options.maximumConnectionDuration)
        return duration > 0 && (idle == 0 || duration < idle) ? duration : idle
    }

    override func timerIsDue() {
        let stats = worker.stats(manager)
        let duration = manager.options.maximumConnectionDuration
        if duration > 0, connection.began &+ duration <= worker.now {
            stats.pointee.connectionDurationsReached &+= 1
        } else {
            stats.pointee.idleTimeouts &+= 1
        }
        connection.closeAfterWrite()
        worker.flush()
    }

    override func announceDrain() { isLeaving = true }

    override func drain() { connection.closeAfterWrite() }

    private func replace(_ isHTTP2: Bool) {
        connection.replaceTerminal(
            isHTTP2 ? HTTP2Downstream(connection, manager) : HTTP1Downstream(connection, manager))
        if isLeaving { connection.terminal?.announceDrain() }
    }
}
