import Bytes
import CLinux
import Glibc

/// The bounds of a listener.
public struct ListenerOptions: Sendable {
    /// Connections that the kernel completes ahead of us (cut at `net.core.somaxconn`).
    public var backlog: CInt = 4096
    /// Several sockets may listen on the address; the kernel spreads connections over them.
    public var reusePort = false
    /// Open connections from this listener; at the limit it stops to accept, and the kernel's backlog fills.
    public var maximumConnections = 65_536
    /// What accepted streams get.
    public var stream = StreamOptions()
    /// The mode of a Unix socket's file.
    public var unixMode: UInt32 = 0o600
    /// Accepts only IPv6 on an IPv6 address.
    public var ipv6Only = false
    /// Binds to an address that no interface has (yet).
    public var freeBind = false
    /// Set in their order, at their stage.
    public var socketOptions: [SocketOption] = []
    /// Connections accepted in one event before other sockets have their turn.
    public var acceptsInTurn = Listener.maximumAcceptsInTurn
    /// Each connection takes of all of these; one that cannot is closed at once.
    public var allowances: [ConnectionAllowance] = []
    /// Shared with listeners on other loops, to which connections may go from here.
    public var balance: ConnectionBalance?

    public init() {}
}

/// Accepts TCP or Unix connections on one loop.
///
/// When the process has no descriptors left, it gives up a reserve, accepts and closes what waits (so that clients see a
/// close at once instead of a hang), and looks again after a pause.
public final class Listener: PollHandler, @unchecked Sendable {
    /// Connections accepted in one event before other sockets have their turn.
    public static let maximumAcceptsInTurn = 64
    /// How long to wait after descriptors ran out.
    static let pauseWithoutDescriptors = Duration.milliseconds(100)

    public let loop: EventLoop
    /// What it is bound to, with the port that the kernel chose.
    public let address: SocketAddress
    public private(set) var options: ListenerOptions
    /// Open connections that came from here. On the loop.
    public private(set) var connections = 0
    /// Accepted since the start. On the loop.
    public private(set) var accepted = 0
    /// Connections that were closed at once because descriptors ran out. On the loop.
    public private(set) var shed = 0

    /// What all its connections are bound to; nil where each may be bound to another address.
    let onlyLocal: SocketAddress?

    private var fd: CInt
    private var reserve: CInt
    private var registration = Registration.none
    private var isWaiting = false
    private var isAccepting = true
    /// Told which of `allowances` a connection was closed for. On the loop.
    public var onRefuse: (Int) -> Void = { _ in }
    private let onAccept: (StreamSocket) -> Void
    private let ownsPath: Bool

    /// Binds and listens. `onAccept` runs on the loop; it sets the stream's `handler` (a stream without one is closed).
    /// On the loop. A Unix path that nobody listens on is replaced.
    public init(
        _ address: SocketAddress, on loop: EventLoop, options: ListenerOptions = ListenerOptions(),
        onAccept: @escaping (StreamSocket) -> Void
    ) throws(SystemError) {
        let fd = try Self.bound(address, options)
        self.fd = fd
        self.loop = loop
        self.options = options
        self.onAccept = onAccept
        self.address = SocketAddress.local(of: fd) ?? address
        onlyLocal = Self.onlyLocal(self.address, options)
        reserve = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
        ownsPath = true
        super.init()
        registration = try loop.register(fd: fd, handler: self, interest: .readable)
        options.balance?.join(self)
    }

    /// A second descriptor of the listening socket, for another loop's `init(sharing:)`; the caller owns it. On the loop.
    public func duplicate() throws(SystemError) -> CInt {
        try checked("dup", address.description) { fcntl(fd, F_DUPFD_CLOEXEC, 0) }
    }

    /// Accepts on this loop, too, what comes to another listener's socket, by a descriptor from its `duplicate`, which is taken
    /// over: for sockets that the kernel cannot bind once for each loop. On the loop.
    public init(
        sharing fd: CInt, _ address: SocketAddress, on loop: EventLoop, options: ListenerOptions,
        onAccept: @escaping (StreamSocket) -> Void
    ) throws(SystemError) {
        self.fd = fd
        self.loop = loop
        self.options = options
        self.onAccept = onAccept
        self.address = address
        onlyLocal = Self.onlyLocal(address, options)
        reserve = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
        ownsPath = false
        super.init()
        registration = try loop.register(fd: fd, handler: self, interest: .readable)
        options.balance?.join(self)
    }

    deinit {
        if fd >= 0 { Glibc.close(fd) }
        if reserve >= 0 { Glibc.close(reserve) }
    }

    private static func onlyLocal(_ address: SocketAddress, _ options: ListenerOptions) -> SocketAddress? {
        // IP_TRANSPARENT, which comes as an option, makes connections that are bound to where they meant to go.
        guard case .ip(let ip, _, _) = address, !ip.isUnspecified, options.socketOptions.isEmpty else { return nil }
        return address
    }

    /// One socket a loop with SO_REUSEPORT for an IP address; one on the first loop for a Unix address. Port 0 is chosen
    /// once and shared. `onAccept` runs on the stream's loop.
    public static func listen(
        _ address: SocketAddress, on group: EventLoopGroup, options: ListenerOptions = ListenerOptions(),
        onAccept: @escaping @Sendable (StreamSocket) -> Void
    ) async throws -> [Listener] {
        var options = options
        guard case .ip(let ip, _, let scope) = address else {
            let options = options
            return [
                try await group.all[0].perform {
                    try Listener(address, on: group.all[0], options: options, onAccept: onAccept)
                }
            ]
        }
        // With SO_REUSEPORT alone, another process's listener and ours would share the port in silence, each with half of
        // the connections. A socket without it is refused where anybody listens.
        if address.port?.rawValue != 0 { Glibc.close(try bound(address, options)) }
        options.reusePort = true
        var listeners: [Listener] = []
        for loop in group.all {
            let bound = listeners.first?.address.port.map { SocketAddress.ip(ip, $0, scope: scope) } ?? address
            do {
                listeners.append(
                    try await loop.perform { [options] in
                        try Listener(bound, on: loop, options: options, onAccept: onAccept)
                    })
            } catch {
                for listener in listeners { listener.close() }
                throw error
            }
        }
        return listeners
    }

    /// Whether such a socket could be bound now; nobody can connect to it. A port that the kernel is to choose, and a Unix socket,
    /// are not tried. Any thread.
    public static func tryToBind(_ address: SocketAddress, options: ListenerOptions) throws(SystemError) {
        guard case .ip = address, address.port?.rawValue != 0 else { return }
        Glibc.close(try bound(address, options, listens: false))
    }

    private static func bound(
        _ address: SocketAddress, _ options: ListenerOptions, listens: Bool = true
    ) throws(SystemError) -> CInt {
        let fd = try openSocket(address.familyNumber, SOCK_STREAM_)
        do throws(SystemError) {
            if case .ip(let ip, _, _) = address {
                try setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
                if options.reusePort { try setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT") }
                // Accepted sockets inherit these.
                if options.stream.noDelay { try setOption(fd, CInt(IPPROTO_TCP), TCP_NODELAY, 1, "TCP_NODELAY") }
                if options.stream.keepAlive > 0 {
                    try setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
                    try setOption(fd, CInt(IPPROTO_TCP), TCP_KEEPIDLE, options.stream.keepAlive, "TCP_KEEPIDLE")
                }
                if ip.family == .v6 {
                    try setOption(fd, CInt(IPPROTO_IPV6), IPV6_V6ONLY, options.ipv6Only ? 1 : 0, "IPV6_V6ONLY")
                }
                if options.freeBind { try setOption(fd, CInt(IPPROTO_IP), IP_FREEBIND_, 1, "IP_FREEBIND") }
            }
            try apply(options, .beforeBind, fd)
            if case .unix(let path) = address { removeStale(path) }
            _ = try address.withKernelAddress { (pointer, length) throws(SystemError) in
                try checked("bind", address.description) { bind(fd, pointer, length) }
            }
            if case .unix(let path) = address {
                _ = try checked("chmod", path) { chmod(path, mode_t(options.unixMode)) }
            }
            try apply(options, .bound, fd)
            guard listens else { return fd }
            _ = try checked("listen", address.description) { Glibc.listen(fd, options.backlog) }
            try apply(options, .listening, fd)
            return fd
        } catch {
            Glibc.close(fd)
            throw error
        }
    }

    private static func apply(
        _ options: ListenerOptions, _ stage: SocketOption.Stage, _ fd: CInt
    ) throws(SystemError) {
        for option in options.socketOptions where option.stage == stage { try option.apply(to: fd) }
    }

    /// A socket file that a dead process left refuses connections; a live one does not and is left alone.
    private static func removeStale(_ path: String) {
        guard let probe = try? openSocket(AF_UNIX, SOCK_STREAM_) else { return }
        defer { Glibc.close(probe) }
        let failure = try? SocketAddress.unix(path: path).withKernelAddress { (pointer, length) -> CInt in
            Glibc.connect(probe, pointer, length) == 0 ? 0 : errno
        }
        if failure == ECONNREFUSED { unlink(path) }
    }

    public override func ready(_ events: PollEvents) {
        guard fd >= 0, !isWaiting, isAccepting else { return }
        var batch = 0
        while connections < options.maximumConnections {
            guard batch < options.acceptsInTurn else { return loop.again(self) }
            batch += 1
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let accepted = weft_accept(fd, &storage, &length)
            guard accepted >= 0 else {
                switch errno {
                // The connection died while it waited, or the network says so for it (accept(2) lists them).
                case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH:
                    continue
                case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                    return shedAndPause()
                default:
                    return
                }
            }
            let peer = SocketAddress(storage, length: length) ?? .unix(path: "")
            if let other = options.balance?.place(self), other !== self {
                other.loop.submit { other.takeOver(accepted, peer) }
            } else {
                begin(accepted, peer)
            }
        }
    }

    /// A connection that another loop has accepted.
    private func takeOver(_ accepted: CInt, _ peer: SocketAddress) {
        guard fd >= 0 else {
            Glibc.close(accepted)
            return
        }
        begin(accepted, peer)
    }

    /// Keeps what it accepts from now on. What others have handed over already still comes. On the loop.
    public func leaveBalance() { options.balance?.leave(self) }

    private func begin(_ accepted: CInt, _ peer: SocketAddress) {
        for (number, allowance) in options.allowances.enumerated() where !allowance.take() {
            for taken in options.allowances[..<number] { taken.release() }
            options.balance?.closed(self)
            Glibc.close(accepted)
            return onRefuse(number)
        }
        let stream = StreamSocket(socket: accepted, on: loop, options: options.stream, peer: peer, listener: self)
        connections += 1
        self.accepted += 1
        onAccept(stream)
        if stream.handler == nil { stream.close() } else { stream.start() }
    }

    private func shedAndPause() {
        Glibc.close(reserve)
        for _ in 0..<Self.maximumAcceptsInTurn {
            let victim = weft_accept(fd, nil, nil)
            guard victim >= 0 else { break }
            Glibc.close(victim)
            shed += 1
        }
        reserve = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
        isWaiting = true
        loop.schedule(after: Self.pauseWithoutDescriptors) { [weak self] in
            guard let self else { return }
            isWaiting = false
            if reserve < 0 { reserve = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC) }
            ready([])
        }
    }

    /// One of ours has closed: at the limit, room for the next.
    func streamDidClose() {
        connections -= 1
        for allowance in options.allowances { allowance.release() }
        options.balance?.closed(self)
        if connections == options.maximumConnections - 1, fd >= 0 { loop.again(self) }
    }

    /// While false, connections wait in the kernel's queue. On the loop.
    public func setAccepting(_ accepts: Bool) {
        guard accepts != isAccepting else { return }
        isAccepting = accepts
        if accepts, fd >= 0 { loop.again(self) }
    }

    /// Takes over what may change while it listens: the backlog, how many are accepted in turn, and what streams get that come
    /// from now on. On the loop.
    public func update(backlog: CInt, acceptsInTurn: Int, stream: StreamOptions) {
        if backlog != options.backlog, fd >= 0 { _ = Glibc.listen(fd, backlog) }
        options.backlog = backlog
        options.acceptsInTurn = acceptsInTurn
        options.stream = stream
    }

    /// Accepts what waits in the kernel's queue, which `close` would reset. On the loop.
    public func acceptWaiting() {
        guard fd >= 0, isAccepting, !isWaiting else { return }
        let turn = options.acceptsInTurn
        defer { options.acceptsInTurn = turn }
        options.acceptsInTurn = max(Int(options.backlog), 1)
        ready(.readable)
    }

    /// Stops to accept, and removes a Unix socket's file; accepted streams live on. Any thread.
    public func close() {
        loop.execute { [self] in
            guard fd >= 0 else { return }
            loop.deregister(registration)
            leaveBalance()
            // A child between fork and exec may hold a copy; it must not go on listening.
            if ownsPath { shutdown(fd, CInt(SHUT_RDWR)) }
            Glibc.close(fd)
            fd = -1
            if ownsPath, case .unix(let path) = address { unlink(path) }
        }
    }

    public override func loopDidStop() {
        leaveBalance()
        if fd >= 0 { Glibc.close(fd) }
        fd = -1
        if ownsPath, case .unix(let path) = address { unlink(path) }
    }
}
