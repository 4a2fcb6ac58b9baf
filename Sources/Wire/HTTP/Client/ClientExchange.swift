import Bytes
import Reactor

/// One request on its way and its response coming back: the seam between a connection's events and the task that reads.
///
/// Proof for `@unchecked`: everything mutable is touched on `loop` only.
final class ClientExchange: @unchecked Sendable {
    struct Head: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var version: HTTPVersion
    }

    let loop: EventLoop
    let method: HTTPMethod
    let limits: HTTPClientLimits
    /// Nil before the request is sent and after the exchange is over.
    var connection: ClientConnection?
    var stream: HTTP2Stream?
    /// Something of the response has arrived.
    private(set) var hasResponse = false
    private var head: Head?
    private var received: [UInt8] = []
    private var trailers = HTTPHeaders()
    private var isComplete = false
    private(set) var failure: (any Error)?
    private var reader: CheckedContinuation<Void, Never>?
    private var writers: [CheckedContinuation<Void, Never>] = []
    private var isPaused = false

    init(_ loop: EventLoop, method: HTTPMethod, limits: HTTPClientLimits) {
        self.loop = loop
        self.method = method
        self.limits = limits
    }

    // MARK: Events of the connection, on the loop

    func received(head: MessageHead) {
        hasResponse = true
        self.head = Head(status: head.status, headers: head.copyHeaders(), version: head.version)
        wakeReader()
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        received.append(contentsOf: bytes)
        if stream == nil, received.count > limits.readHighWater, !isPaused {
            isPaused = true
            connection?.pauseReading()
        }
        wakeReader()
    }

    func ended(_ trailers: HTTPHeaders) {
        self.trailers = trailers
        isComplete = true
        connection = nil
        stream = nil
        wakeReader()
        wakeWriters()
    }

    func failed(_ error: any Error) {
        guard !isComplete, failure == nil else { return }
        failure = error
        connection = nil
        stream = nil
        wakeReader()
        wakeWriters()
    }

    func drained() { wakeWriters() }

    func cancel() {
        guard !isComplete, failure == nil else { return }
        let connection = connection
        let stream = stream
        failed(CancellationError())
        connection?.cancel(self, stream)
    }

    /// Bytes that have come and were not read yet: over HTTP/2 they are missing from the connection's window until the connection
    /// is told, at the latest when the exchange is over.
    var unreadBytes: Int { received.count }

    // MARK: Calls of the reading task, on any thread

    func awaitHead(timeout: Duration?) async throws -> Head {
        try await onLoop { exchange in
            try await exchange.wait(timeout, until: { $0.head != nil }, "no response for")
            guard let head = exchange.head else { throw exchange.failure ?? HTTPError(.closed, "no response") }
            return head
        }
    }

    func next(timeout: Duration?) async throws -> [UInt8]? {
        try await onLoop { exchange in
            try await exchange.wait(
                timeout, until: { !$0.received.isEmpty || $0.isComplete }, "no byte of the response for")
            guard !exchange.received.isEmpty else { return nil }
            let bytes = exchange.received
            exchange.received = []
            if exchange.isPaused {
                exchange.isPaused = false
                exchange.connection?.resumeReading()
            }
            if let stream = exchange.stream { exchange.connection?.consumed(bytes.count, of: stream) }
            return bytes
        }
    }

    func receivedTrailers() async -> HTTPHeaders {
        (try? await onLoop { $0.trailers }) ?? HTTPHeaders()
    }

    func write(_ bytes: [UInt8]) async throws {
        try await onLoop { exchange in
            guard let connection = exchange.connection else {
                throw exchange.failure ?? HTTPError(.closed, "the connection is closed")
            }
            guard !connection.write(bytes, for: exchange) else { return }
            await withCheckedContinuation { exchange.writers.append($0) }
            if let failure = exchange.failure { throw failure }
        }
    }

    func finishWriting() async {
        _ = try? await onLoop { exchange in exchange.connection?.finishWriting(exchange) }
    }

    /// Waits on the loop until `ready`, or something failed, the time passed, or the task was cancelled.
    private func wait(
        _ timeout: Duration?, until ready: (ClientExchange) -> Bool, _ silence: String
    ) async throws {
        var timer: TimerHandle?
        if let timeout, !ready(self) {
            timer = loop.schedule(after: timeout) { [weak self] in
                self?.timedOut(HTTPError(.timeout, "\(silence) \(timeout)"))
            }
        }
        defer { if let timer { loop.cancel(timer) } }
        while !ready(self), failure == nil {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    if Task.isCancelled { cancel() }
                    if failure != nil { continuation.resume() } else { reader = continuation }
                }
            } onCancel: {
                loop.submit { self.cancel() }
            }
        }
        if !ready(self), let failure { throw failure }
    }

    private func timedOut(_ error: HTTPError) {
        let connection = connection
        let stream = stream
        failed(error)
        connection?.cancel(self, stream)
    }

    private func wakeReader() {
        reader?.resume()
        reader = nil
    }

    private func wakeWriters() {
        let waiting = writers
        writers = []
        for writer in waiting { writer.resume() }
    }

    private func onLoop<R: Sendable>(_ body: @Sendable (ClientExchange) async throws -> R) async throws -> R {
        if loop.isCurrent { return try await body(self) }
        return try await withTaskExecutorPreference(loop) { try await body(self) }
    }
}
