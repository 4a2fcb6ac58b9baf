import Bytes
import CLinux

// The public interface of what follows within the hour; each type moves to its own file with its working body.

public struct StreamOptions: Sendable {
    public var highWaterMark = 256 << 10
    public var lowWaterMark = 64 << 10
    /// Queued output beyond this closes the socket.
    public var outputLimit = 64 << 20
    /// Input that the handler leaves unconsumed beyond this closes the socket.
    public var inputLimit = 1 << 20
    public var noDelay = true
    public init() {}
}

/// What a stream's bytes mean: subclass it. All calls on the socket's loop.
open class StreamHandler: @unchecked Sendable {
    public init() {}
    open func streamDidConnect(_ stream: StreamSocket) {}
    /// `bytes` are valid within the call. Answers how many were consumed; the rest is offered again with what follows.
    open func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int { bytes.count }
    /// The peer sent FIN. The default closes once the output is written.
    open func streamDidEnd(_ stream: StreamSocket) {}
    /// Output fell below the low-water mark after `write` answered false.
    open func streamDidDrain(_ stream: StreamSocket) {}
    /// Exactly once, last; nil for an orderly close.
    open func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {}
}

/// A TCP or Unix stream (or pipe) on one loop, callback style.
public final class StreamSocket: PollHandler, @unchecked Sendable {
    public let loop: EventLoop
    public var handler: StreamHandler? {
        get { fatalError("not yet") }
        set { fatalError("not yet") }
    }
    public var peer: SocketAddress { fatalError("not yet") }
    public var local: SocketAddress { fatalError("not yet") }
    public var isClosed: Bool { fatalError("not yet") }
    public var queuedOutput: Int { fatalError("not yet") }
    /// Starts to connect; streamDidConnect or streamDidClose(error) follows.
    public static func connect(
        to address: SocketAddress, on loop: EventLoop, from source: SocketAddress? = nil,
        timeout: Duration = .seconds(10), options: StreamOptions = StreamOptions(), handler: StreamHandler
    ) throws(SystemError) -> StreamSocket { fatalError("not yet") }
    /// Takes over a connected non-blocking descriptor (socket or pipe end).
    public init(adopting fd: CInt, on loop: EventLoop, options: StreamOptions = StreamOptions()) throws(SystemError) {
        fatalError("not yet")
    }
    /// Begins to read; call after setting `handler` (Listener does it after onAccept).
    public func start() { fatalError("not yet") }
    /// Copies or sends the bytes. False when the queue is above the high-water mark: stop until streamDidDrain.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool { fatalError("not yet") }
    /// Keeps a reference instead of copying what cannot be sent at once: shared frames.
    @discardableResult
    public func write(_ bytes: [UInt8]) -> Bool { fatalError("not yet") }
    public func pauseReading() { fatalError("not yet") }
    public func resumeReading() { fatalError("not yet") }
    /// FIN once the queued output is written.
    public func shutdownWrite() { fatalError("not yet") }
    /// Closes once the queued output is written.
    public func closeAfterWrite() { fatalError("not yet") }
    public func close(_ error: SystemError? = nil) { fatalError("not yet") }
    /// Closes with RST.
    public func reset() { fatalError("not yet") }
}

/// A stream for async code; usable from tasks on any executor, the work happens on the loop.
public final class StreamConnection: Sendable {
    public var peer: SocketAddress { fatalError("not yet") }
    public var local: SocketAddress { fatalError("not yet") }
    /// Takes over a socket whose handler is not set (in Listener's onAccept).
    public init(_ socket: StreamSocket) { fatalError("not yet") }
    public static func connect(
        to address: SocketAddress, on loop: EventLoop, timeout: Duration = .seconds(10),
        options: StreamOptions = StreamOptions()
    ) async throws -> StreamConnection { fatalError("not yet") }
    /// Some bytes, at most `limit`; empty at the end of the stream.
    public func read(limit: Int = 64 << 10) async throws -> [UInt8] { fatalError("not yet") }
    /// Suspends while the queue is above the high-water mark.
    public func write(_ bytes: [UInt8]) async throws { fatalError("not yet") }
    public func shutdownWrite() async { fatalError("not yet") }
    public func close() { fatalError("not yet") }
}

public struct ListenerOptions: Sendable {
    public var backlog: CInt = 4096
    public var reusePort = false
    public var maximumConnections = 65_536
    public var stream = StreamOptions()
    public var unixMode: UInt32 = 0o600
    public init() {}
}

/// Accepts on one loop.
public final class Listener: PollHandler, @unchecked Sendable {
    public let loop: EventLoop
    public var address: SocketAddress { fatalError("not yet") }
    public init(
        _ address: SocketAddress, on loop: EventLoop, options: ListenerOptions = ListenerOptions(),
        onAccept: @escaping (StreamSocket) -> Void
    ) throws(SystemError) { fatalError("not yet") }
    /// One SO_REUSEPORT socket a loop (TCP); port 0 is chosen once and shared.
    public static func listen(
        _ address: SocketAddress, on group: EventLoopGroup, options: ListenerOptions = ListenerOptions(),
        onAccept: @escaping @Sendable (StreamSocket) -> Void
    ) async throws -> [Listener] { fatalError("not yet") }
    /// Stops accepting; accepted streams live on. Any thread.
    public func close() { fatalError("not yet") }
}

/// AF_NETLINK on a loop.
public final class NetlinkSocket: PollHandler, @unchecked Sendable {
    public let loop: EventLoop
    public var portID: UInt32 { fatalError("not yet") }
    /// `namespace`: descriptor of the network namespace to create the socket in; nil is the caller's.
    public init(
        protocol number: CInt, on loop: EventLoop, groups: [UInt32] = [], namespace: CInt? = nil,
        receiveBuffer: Int = 8 << 20, onMessage: @escaping (UnsafeRawBufferPointer) -> Void,
        onOverrun: @escaping () -> Void, onError: @escaping (SystemError) -> Void
    ) throws(SystemError) { fatalError("not yet") }
    public func send(_ bytes: UnsafeRawBufferPointer) throws(SystemError) { fatalError("not yet") }
    public func join(group: UInt32) throws(SystemError) { fatalError("not yet") }
    public func close() { fatalError("not yet") }
    /// A bare socket for blocking use (weft-cni); the caller closes it.
    public static func open(
        protocol number: CInt, groups: [UInt32] = [], namespace: CInt? = nil, receiveBuffer: Int = 8 << 20,
        nonBlocking: Bool
    ) throws(SystemError) -> CInt { fatalError("not yet") }
}

/// A child that is watched by its pidfd.
public final class ChildProcess: PollHandler, @unchecked Sendable {
    public enum Status: Hashable, Sendable {
        case exited(Int32)
        case signaled(Int32)
        public var isSuccess: Bool { self == .exited(0) }
    }
    public struct Configuration: Sendable {
        /// Found on PATH unless it has a slash.
        public var arguments: [String]
        /// nil inherits.
        public var environment: [String]? = nil
        public var workingDirectory: String? = nil
        /// Child descriptor → ours; 0, 1 and 2 are /dev/null when absent. All others are closed.
        public var descriptors: [CInt: CInt] = [:]
        public var newSession = false
        public var newProcessGroup = false
        /// Namespaces to enter before exec.
        public var networkNamespace: CInt? = nil
        public var mountNamespace: CInt? = nil
        /// CLONE_NEW… flags to unshare after entering.
        public var unshare: CInt = 0
        /// Signal for the child when the thread that started it ends (start it on a loop).
        public var deathSignal: CInt = 0
        public init(_ arguments: [String]) { self.arguments = arguments }
    }
    public struct Output: Sendable {
        public var status: Status
        public var stdout: [UInt8]
        public var stderr: [UInt8]
    }
    public let processID: Int32
    /// Starts it; must be called on `loop`'s thread.
    public init(_ configuration: Configuration, on loop: EventLoop) throws(SystemError) { fatalError("not yet") }
    public static func start(_ configuration: Configuration, on loop: EventLoop) async throws -> ChildProcess {
        fatalError("not yet")
    }
    public var exitStatus: Status { get async throws { fatalError("not yet") } }
    /// False when it has ended already.
    @discardableResult
    public func kill(_ signal: CInt) -> Bool { fatalError("not yet") }
    /// Runs to the end; SIGKILL and TimeoutError after `timeout`; output beyond the limit is cut.
    public static func run(
        _ configuration: Configuration, on loop: EventLoop, input: [UInt8] = [], timeout: Duration = .seconds(30),
        outputLimit: Int = 1 << 20
    ) async throws -> Output { fatalError("not yet") }
}

public struct Datagram {
    public var bytes: UnsafeRawBufferPointer
    public var source: IPEndpoint
    /// The address that the packet was sent to.
    public var destination: IPAddress
    public var isTruncated: Bool
}

open class DatagramHandler: @unchecked Sendable {
    public init() {}
    open func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {}
    open func datagramDidFail(_ socket: DatagramSocket, _ error: SystemError) {}
}

public final class DatagramSocket: PollHandler, @unchecked Sendable {
    public let loop: EventLoop
    public var address: SocketAddress { fatalError("not yet") }
    public init(
        _ address: SocketAddress, on loop: EventLoop, reusePort: Bool = false, connectedTo peer: SocketAddress? = nil,
        maximumDatagram: Int = 4096, handler: DatagramHandler
    ) throws(SystemError) { fatalError("not yet") }
    /// Queued, and sent with the rest of the batch at the end of the loop's turn. False when dropped: queue full.
    @discardableResult
    public func send(_ bytes: UnsafeRawBufferPointer, to peer: IPEndpoint, from local: IPAddress? = nil) -> Bool {
        fatalError("not yet")
    }
    public func close() { fatalError("not yet") }
}
