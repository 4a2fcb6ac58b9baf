import Bytes
import Glibc

/// A stream for async code: the cool face of a connection, usable from tasks on any executor; the work happens on the
/// loop. Back-pressure is both ways: nothing is read ahead of `read` beyond one buffer, and `write` suspends above the
/// high-water mark. Closes when it is dropped.
public final class StreamConnection: Sendable {
    private let end: StreamEnd
    public let loop: EventLoop
    public let peer: SocketAddress
    public let local: SocketAddress

    /// Takes over a socket whose handler is not set, as in a listener's `onAccept`. On the socket's loop.
    public init(_ socket: StreamSocket) {
        end = StreamEnd(socket)
        loop = socket.loop
        peer = socket.peer
        local = socket.local
        socket.pauseReading()
        socket.handler = end
    }

    deinit {
        let end = end
        loop.execute { end.socket.close() }
    }

    /// Connects, from any executor. Throws `SystemError` (`ETIMEDOUT` after `timeout`) or `CancellationError`.
    public static func connect(
        to address: SocketAddress, on loop: EventLoop, from source: SocketAddress? = nil,
        timeout: Duration = .seconds(10), options: StreamOptions = StreamOptions()
    ) async throws -> StreamConnection {
        try await loop.wait { waiter in
            let connecting = ConnectingHandler(waiter)
            do {
                let socket = try StreamSocket.connect(
                    to: address, on: loop, from: source, timeout: timeout, options: options, handler: connecting)
                waiter.onCancel = { socket.close() }
            } catch {
                waiter.fail(error)
            }
        }
    }

    /// Takes over a descriptor (socket or pipe end). From any executor.
    public static func adopt(
        _ fd: CInt, on loop: EventLoop, options: StreamOptions = StreamOptions()
    ) async throws -> StreamConnection {
        try await loop.perform {
            let socket = try StreamSocket(adopting: fd, on: loop, options: options)
            let connection = StreamConnection(socket)
            socket.start()
            return connection
        }
    }

    /// Some bytes, at most `limit`; empty at the end of the stream. One reader at a time (`EBUSY`).
    public func read(limit: Int = 256 << 10) async throws -> [UInt8] {
        let end = end
        return try await loop.wait { waiter in end.read(limit, waiter) }
    }

    /// Exactly `count` bytes; `EPIPE` when the stream ends before.
    public func read(exactly count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try await read(limit: count - bytes.count)
            guard !more.isEmpty else { throw SystemError(errno: EPIPE, call: "read", subject: peer.description) }
            bytes.append(contentsOf: more)
        }
        return bytes
    }

    /// All bytes to the end of the stream; `EMSGSIZE` beyond `limit`.
    public func readToEnd(limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try await read()
            if more.isEmpty { return bytes }
            guard bytes.count + more.count <= limit else {
                throw SystemError(errno: EMSGSIZE, call: "read", subject: peer.description)
            }
            bytes.append(contentsOf: more)
        }
    }

    /// Queues the bytes; suspends while the queue stands above the high-water mark. Throws when the stream is closed.
    public func write(_ bytes: [UInt8]) async throws {
        let end = end
        try await loop.wait { waiter in end.write(bytes, waiter) }
    }

    /// FIN once all is written; reading goes on.
    public func shutdownWrite() async {
        let end = end
        loop.execute { end.socket.shutdownWrite() }
    }

    /// Closes at once; waiting readers and writers throw `ECANCELED`. Any thread.
    public func close() {
        let end = end
        loop.execute { end.socket.close(SystemError(errno: ECANCELED, call: "close")) }
    }

    /// Closes once the queued output is written. Any thread.
    public func closeAfterWrite() {
        let end = end
        loop.execute { end.socket.closeAfterWrite() }
    }
}

/// The loop's side of a `StreamConnection`.
private final class StreamEnd: StreamHandler, @unchecked Sendable {
    let socket: StreamSocket
    private var reader: (waiter: LoopWaiter<[UInt8]>, limit: Int)?
    private var writers: [LoopWaiter<Void>] = []
    private var hasEnded = false
    private var failure: SystemError?

    init(_ socket: StreamSocket) { self.socket = socket }

    func read(_ limit: Int, _ waiter: LoopWaiter<[UInt8]>) {
        if let failure { return waiter.fail(failure) }
        if hasEnded || socket.isClosed { return waiter.succeed([]) }
        guard reader == nil else {
            return waiter.fail(SystemError(errno: EBUSY, call: "read", subject: socket.peer.description))
        }
        reader = (waiter, max(1, limit))
        waiter.onCancel = { [weak self] in
            self?.reader = nil
            self?.socket.pauseReading()
        }
        socket.resumeReading()
    }

    func write(_ bytes: [UInt8], _ waiter: LoopWaiter<Void>) {
        if let failure { return waiter.fail(failure) }
        if socket.write(bytes) { return waiter.succeed(()) }
        guard !socket.isClosed, socket.queuedOutput > 0 else {
            return waiter.fail(failure ?? SystemError(errno: EPIPE, call: "write", subject: socket.peer.description))
        }
        writers.append(waiter)
    }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        stream.pauseReading()
        guard let (waiter, limit) = reader else { return 0 }
        reader = nil
        let part = bytes.prefix(limit)
        waiter.succeed(Array(part))
        return part.count
    }

    override func streamDidEnd(_ stream: StreamSocket) {
        hasEnded = true
        reader?.waiter.succeed([])
        reader = nil
    }

    override func streamDidDrain(_ stream: StreamSocket) {
        let ready = writers
        writers = []
        for waiter in ready { waiter.succeed(()) }
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        failure = error
        if let error { reader?.waiter.fail(error) } else { reader?.waiter.succeed([]) }
        reader = nil
        for waiter in writers {
            waiter.fail(error ?? SystemError(errno: EPIPE, call: "write", subject: stream.peer.description))
        }
        writers = []
    }
}

private final class ConnectingHandler: StreamHandler, @unchecked Sendable {
    private let waiter: LoopWaiter<StreamConnection>

    init(_ waiter: LoopWaiter<StreamConnection>) { self.waiter = waiter }

    override func streamDidConnect(_ stream: StreamSocket) {
        guard waiter.isWaiting else { return stream.close() }
        waiter.succeed(StreamConnection(stream))
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        waiter.fail(error ?? SystemError(errno: ECONNABORTED, call: "connect", subject: stream.peer.description))
    }
}
