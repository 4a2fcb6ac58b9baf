import Bytes
import Reactor

/// Answers one request from async code.
///
/// The calls may come from any task; the work happens on the connection's loop, without a hop when the caller runs there, as a
/// handler does (hence `nonisolated(nonsending)`: they begin on the caller's executor). One task at a time may write.
public final class HTTPResponseWriter: @unchecked Sendable {
    // Proof for `@unchecked`: everything mutable is touched on `loop` only; `onLoop` sees to that.

    public let loop: EventLoop
    private let exchange: HTTPExchange
    private var isOver = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var closeActions: [@Sendable () -> Void] = []
    private var hasToldClose = false

    // An upgraded connection's input, until `read` takes it.
    private var received: [UInt8] = []
    private var receivedAll = false
    private var reader: CheckedContinuation<Void, Never>?

    /// Bytes of an upgraded connection that wait for `read`; beyond that the connection is cut.
    public static let maximumUnread = 4 << 20

    init(_ exchange: HTTPExchange, loop: EventLoop) {
        self.exchange = exchange
        self.loop = loop
    }

    /// Answers in one piece. Does nothing if the answer has begun or the client is gone.
    public nonisolated(nonsending) func send(status: Int, headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = [])
        async
    {
        await onLoop { $0.exchange.respond(status, headers, body: body) }
    }

    /// As above, with text.
    public nonisolated(nonsending) func send(
        status: Int, text: String, contentType: String = "text/plain; charset=utf-8"
    ) async {
        await send(status: status, headers: ["content-type": contentType], body: Array(text.utf8))
    }

    /// Begins an answer whose body follows with `write` and `finish`. Give `length` where it is known: more than that must not be
    /// written, and less ends the connection.
    ///
    /// - Throws: `HTTPError` (`.closed`) if the client is gone, (`.usage`) if the answer has begun already.
    public nonisolated(nonsending) func start(status: Int, headers: HTTPHeaders = HTTPHeaders(), length: Int? = nil)
        async throws
    {
        let hadStarted = await onLoop { writer in
            let had = writer.exchange.hasStarted
            writer.exchange.start(status, headers, length: length)
            return had
        }
        guard !hadStarted else { throw HTTPError(.usage, "the answer has begun already") }
        if await onLoop({ $0.isOver }) { throw Self.gone }
    }

    /// Sends bytes of the body; suspends while the client is slower than we are.
    ///
    /// - Throws: `HTTPError` (`.closed`) if the client is gone.
    public nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws {
        let more = await onLoop { writer -> Bool? in
            if writer.isOver || writer.exchange.isClosed { return nil }
            return bytes.withUnsafeBytes { writer.exchange.write($0) }
        }
        guard let more else { throw Self.gone }
        guard !more else { return }
        await waitForDrain()
        if await onLoop({ $0.isOver }) { throw Self.gone }
    }

    /// Queues bytes without waiting, for fan-out: call on `loop` only.
    ///
    /// - Returns: how many bytes wait for the client after this, or nil if it is gone. Above `HTTPLimits.writeHighWater` send no more
    ///   until `queuedBytes` has fallen.
    public func enqueue(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard !isOver, !exchange.isClosed else { return nil }
        exchange.write(bytes)
        return exchange.isClosed ? nil : exchange.queuedBytes
    }

    /// Suspends until what is queued has gone below the low-water mark, or the client is gone.
    public nonisolated(nonsending) func waitForDrain() async {
        await withLoop { writer in
            guard !writer.isOver, !writer.exchange.isClosed, writer.exchange.mustWaitForDrain else { return }
            await withCheckedContinuation { writer.waiters.append($0) }
        }
    }

    /// The body is complete.
    public nonisolated(nonsending) func finish(trailers: HTTPHeaders = HTTPHeaders()) async {
        await onLoop { $0.exchange.finish(trailers: trailers) }
    }

    /// Cuts the answer short so that the client notices.
    public nonisolated(nonsending) func abort() async { await onLoop { $0.exchange.abort() } }

    /// Whether nobody will read what is written. True also when a client has closed only its own side of an HTTP/1
    /// connection: what is sent still goes out, but an answer without end should end. Exact on `loop`, elsewhere a hint.
    public var isClosed: Bool { isOver || hasToldClose || exchange.isClosed }

    /// Calls `action` once, on `loop`, when `isClosed` becomes true or the answer is complete; at once if it is so already.
    public func onClose(_ action: @escaping @Sendable () -> Void) {
        @Sendable func register() {
            if isOver || hasToldClose { action() } else { closeActions.append(action) }
        }
        if loop.isCurrent { register() } else { loop.submit(register) }
    }

    /// Switches protocols: from now on `read` and `write` carry raw bytes.
    ///
    /// - Throws: `HTTPError` (`.usage`) if the request did not ask for an upgrade or came over HTTP/2.
    public nonisolated(nonsending) func upgrade(headers: HTTPHeaders) async throws {
        guard await onLoop({ $0.exchange.upgrade(headers) }) else {
            throw HTTPError(.usage, "the request cannot be upgraded")
        }
    }

    /// Bytes that the client sent after the upgrade; empty when it sends no more.
    public nonisolated(nonsending) func read() async throws -> [UInt8] {
        try await withLoop { writer in
            if writer.received.isEmpty, !writer.receivedAll, !writer.isOver {
                await withCheckedContinuation { writer.reader = $0 }
            }
            if writer.received.isEmpty, writer.isOver, !writer.receivedAll { throw Self.gone }
            defer { writer.received = [] }
            return writer.received
        }
    }

    private static let gone = HTTPError(.closed, "the client is gone")

    // MARK: What the service tells, on the loop

    func drained() { resumeWaiters() }

    func closed() {
        isOver = true
        resumeWaiters()
        reader?.resume()
        reader = nil
        tellClose()
    }

    func peerStoppedSending() { tellClose() }

    func received(_ bytes: UnsafeRawBufferPointer) {
        guard received.count + bytes.count <= Self.maximumUnread else { return exchange.abort() }
        received.append(contentsOf: bytes)
        reader?.resume()
        reader = nil
    }

    func receivedEnd() {
        receivedAll = true
        reader?.resume()
        reader = nil
    }

    /// A handler that forgot to answer, or to finish, is answered for. On the loop.
    func handlerReturned() {
        guard !exchange.hasFinished, !isOver else { return }
        if exchange.hasStarted {
            exchange.finish()
        } else {
            exchange.respond(500, ["content-type": "text/plain"], body: Array("no answer was made\n".utf8))
        }
    }

    private func tellClose() {
        guard !hasToldClose else { return }
        hasToldClose = true
        let actions = closeActions
        closeActions = []
        for action in actions { action() }
    }

    private func resumeWaiters() {
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.resume() }
    }

    private nonisolated(nonsending) func onLoop<R: Sendable>(_ body: @Sendable (HTTPResponseWriter) -> R) async -> R {
        if loop.isCurrent { return body(self) }
        return await withTaskExecutorPreference(loop) { body(self) }
    }

    private nonisolated(nonsending) func withLoop<R: Sendable>(_ body: @Sendable (HTTPResponseWriter) async throws -> R)
        async rethrows -> R
    {
        if loop.isCurrent { return try await body(self) }
        return try await withTaskExecutorPreference(loop) { try await body(self) }
    }
}
