import Bytes
import Glibc
import Reactor

/// One end of a TCP connection in a scripted peer's hands: keeps all that came, and how it ended. On its loop.
final class Wire: StreamHandler, @unchecked Sendable {
    private var socket: StreamSocket?
    private(set) var received: [UInt8] = []
    /// nil while the other side may still send.
    private(set) var end: End?
    private(set) var isConnected = false
    /// Called when bytes or the end came.
    var onChange: ((Wire) -> Void)?
    private(set) var hasClosedItself = false
    /// Our port and the other side's, for texts that name them.
    let localPort: UInt16
    let peerPort: UInt16

    enum End: String { case closed, reset }

    /// Takes over what a listener accepted.
    init(accepted socket: StreamSocket) {
        self.socket = socket
        isConnected = true
        localPort = socket.local.port?.rawValue ?? 0
        peerPort = socket.peer.port?.rawValue ?? 0
        super.init()
        socket.handler = self
    }

    init(to port: UInt16, on loop: EventLoop) throws {
        let opening = Opening()
        let socket = try StreamSocket.connect(to: .ip(.loopbackV4, Port(port)), on: loop, handler: opening)
        self.socket = socket
        localPort = socket.local.port?.rawValue ?? 0
        peerPort = port
        super.init()
        socket.handler = self
    }

    /// Holds the handler's place for the moment in which the wire does not exist yet.
    private final class Opening: StreamHandler, @unchecked Sendable {}

    func send(_ bytes: [UInt8]) {
        if let socket, !socket.isClosed, !bytes.isEmpty { _ = socket.write(bytes) }
    }

    func finish() { if let socket, !socket.isClosed { socket.shutdownWrite() } }

    func close() {
        hasClosedItself = true
        socket?.closeAfterWrite()
    }

    func reset() {
        hasClosedItself = true
        socket?.reset()
    }

    var isClosed: Bool { socket?.isClosed ?? true }

    override func streamDidConnect(_ stream: StreamSocket) { isConnected = true }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        received.append(contentsOf: bytes)
        onChange?(self)
        return bytes.count
    }

    override func streamDidEnd(_ stream: StreamSocket) {
        end = end ?? .closed
        onChange?(self)
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        socket = nil
        guard end == nil, !hasClosedItself else { return }
        end = error == nil ? .closed : .reset
        onChange?(self)
    }
}

/// Looks until the condition holds; answers whether it did before the deadline. False when the task is cancelled.
func holds(
    within limit: Duration, on loop: EventLoop, _ condition: () async throws -> Bool
) async rethrows -> Bool {
    let deadline = MonotonicTime.now().adding(limit)
    while true {
        if try await condition() { return true }
        guard MonotonicTime.now() < deadline, (try? await loop.sleep(for: .milliseconds(2))) != nil else {
            return false
        }
    }
}
