import Bytes
import CLinux

// The public interface of what follows within the hour; each type moves to its own file with its working body.

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
