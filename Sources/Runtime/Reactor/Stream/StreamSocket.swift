import Bytes
import CLinux
import Glibc

/// A TCP or Unix stream, or one end of a pipe, on one loop, callback style: the hot face of a connection.
///
/// Reads into the loop's scratch buffer, so an idle connection holds no buffer, and a message that comes in one piece is
/// never copied. Output that is written within a handler's call leaves in one system call when it returns; other output
/// is tried at once and queued when the peer is slow.
///
/// `@unchecked Sendable`: every method is called on `loop`'s thread; a reference may travel.
public final class StreamSocket: PollHandler, @unchecked Sendable {
    /// Reads in one event before other sockets have their turn.
    static let maximumReadsInTurn = 4
    /// Bytes that are read in one event; as above.
    static let maximumBytesInTurn = 256 << 10
    /// Free room for the next read behind unconsumed input.
    static let minimumRoom = 4 << 10

    public let loop: EventLoop
    /// Who the other side is; `unix("")` for unnamed peers and pipes.
    public let peer: SocketAddress
    public let options: StreamOptions

    private var fd: CInt
    private let isSocket: Bool
    private var registration = Registration.none
    private var phase = Phase.fresh
    private var flags = Flags()
    private var owner: StreamHandler?
    private var output = OutputQueue()
    private var input: BufferPool.Block?
    private var inputCount = 0
    private var connectTimer = TimerHandle.none
    /// Told when this socket closes, for its limit of connections.
    var listener: Listener?

    private enum Phase: UInt8 { case fresh, connecting, open, closed }

    private struct Flags: OptionSet {
        let rawValue: UInt16
        /// The kernel may have input that was not read: the edge came and no read has met EAGAIN since.
        static let canRead = Flags(rawValue: 1)
        static let isPaused = Flags(rawValue: 1 << 1)
        /// Unconsumed input is to be offered again though nothing new came.
        static let mustOffer = Flags(rawValue: 1 << 2)
        static let peerEnded = Flags(rawValue: 1 << 3)
        static let shutdownAsked = Flags(rawValue: 1 << 4)
        static let shutdownDone = Flags(rawValue: 1 << 5)
        static let closeAsked = Flags(rawValue: 1 << 6)
        static let isAboveHighWater = Flags(rawValue: 1 << 7)
        static let isDispatching = Flags(rawValue: 1 << 8)
        static let hungUp = Flags(rawValue: 1 << 9)
        static let isFlushing = Flags(rawValue: 1 << 10)
        /// Came from elsewhere: other processes may share it.
        static let isAdopted = Flags(rawValue: 1 << 11)
    }

    // MARK: Beginning

    /// Takes over a connected descriptor (socket or pipe end), makes it non-blocking, and closes it in the end.
    public init(
        adopting fd: CInt, on loop: EventLoop, options: StreamOptions = StreamOptions(), peer: SocketAddress? = nil
    ) throws(SystemError) {
        var status = stat()
        guard fstat(fd, &status) == 0 else { throw .last("fstat", "descriptor \(fd)") }
        let mode = fcntl(fd, F_GETFL)
        guard mode >= 0, fcntl(fd, F_SETFL, mode | O_NONBLOCK) == 0 else { throw .last("fcntl", "descriptor \(fd)") }
        self.fd = fd
        self.loop = loop
        self.options = options
        isSocket = status.st_mode & S_IFMT == S_IFSOCK
        self.peer = peer ?? SocketAddress.peer(of: fd) ?? .unix(path: "")
        flags.insert(.isAdopted)
    }

    /// For a socket that was made non-blocking by its maker.
    init(socket fd: CInt, on loop: EventLoop, options: StreamOptions, peer: SocketAddress, listener: Listener?) {
        self.fd = fd
        self.loop = loop
        self.options = options
        self.peer = peer
        self.listener = listener
        isSocket = true
    }

    deinit {
        if fd >= 0 { Glibc.close(fd) }
    }

    /// Starts to connect; `streamDidConnect` or `streamDidClose(error)` follows, never within this call. On the loop.
    ///
    /// `source` is an address to leave from; `namespace` the file of a network namespace to be in. Throws for what can never succeed
    /// (an unsupported address, no descriptors, a namespace that is gone).
    public static func connect(
        to address: SocketAddress, on loop: EventLoop, from source: SocketAddress? = nil, in namespace: String? = nil,
        socketOptions: [SocketOption] = [], timeout: Duration = .seconds(10), options: StreamOptions = StreamOptions(),
        handler: StreamHandler
    ) throws(SystemError) -> StreamSocket {
        let fd = try socket(for: address, in: namespace)
        let stream = StreamSocket(socket: fd, on: loop, options: options, peer: address, listener: nil)
        if case .ip = address { try stream.setTCPOptions() }
        for option in socketOptions { try option.apply(to: fd) }
        if let source {
            _ = try source.withKernelAddress { (pointer, length) throws(SystemError) in
                try checked("bind", source.description) { bind(fd, pointer, length) }
            }
        }
        stream.handler = handler
        stream.phase = .connecting
        let failure = try address.withKernelAddress { (pointer, length) throws(SystemError) -> CInt in
            while Glibc.connect(fd, pointer, length) != 0 {
                if errno != EINTR { return errno }
            }
            return 0
        }
        switch failure {
        case 0, EINPROGRESS:
            // Both are reported as writable by the first poll.
            stream.registration = try loop.register(
                fd: fd, handler: stream, interest: [.readable, .writable, .readHangUp])
            stream.connectTimer = loop.schedule(after: timeout) { [unowned stream] in
                stream.close(SystemError(errno: ETIMEDOUT, call: "connect", subject: address.description))
            }
        default:
            loop.submit { stream.close(SystemError(errno: failure, call: "connect", subject: address.description)) }
        }
        return stream
    }

    private static func socket(for address: SocketAddress, in namespace: String?) throws(SystemError) -> CInt {
        let family = address.familyNumber
        guard let namespace else { return try openSocket(family, SOCK_STREAM_) }
        do {
            return try NetworkNamespace.withEntered(path: namespace) { try openSocket(family, SOCK_STREAM_) }
        } catch {
            throw error as? SystemError ?? SystemError(errno: EIO, call: "setns", subject: namespace)
        }
    }

    private func setTCPOptions() throws(SystemError) {
        if options.noDelay { try setOption(fd, CInt(IPPROTO_TCP), TCP_NODELAY, 1, "TCP_NODELAY") }
        guard options.keepAlive > 0 else { return }
        try setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
        try setOption(fd, CInt(IPPROTO_TCP), TCP_KEEPIDLE, options.keepAlive, "TCP_KEEPIDLE")
        try setOption(fd, CInt(IPPROTO_TCP), TCP_KEEPINTVL, max(1, options.keepAlive / 3), "TCP_KEEPINTVL")
    }

    /// Begins to poll; call once after `handler` is set. `Listener` does it after `onAccept`. On the loop.
    public func start() {
        guard phase == .fresh else { return }
        phase = .open
        do {
            registration = try loop.register(fd: fd, handler: self, interest: [.readable, .writable, .readHangUp])
        } catch {
            close(error)
        }
    }

    /// What the bytes mean. Replacing it takes effect with the next call.
    public var handler: StreamHandler? {
        get { owner }
        set {
            // The old one may be on the stack below us.
            if let owner { loop.releaseLater(owner) }
            owner = newValue
        }
    }

    // MARK: State

    public var isClosed: Bool { phase == .closed }
    public var isConnecting: Bool { phase == .connecting }

    /// Bytes that were written and that the kernel has not taken yet.
    public var queuedOutput: Int { output.count }

    /// Bytes wait in the kernel, or the peer's end or an error does. Asks the kernel.
    public var hasUnreadInput: Bool {
        guard fd >= 0, isSocket else { return false }
        var byte: UInt8 = 0
        return recv(fd, &byte, 1, CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)) >= 0 || errno != EAGAIN
    }

    /// What this end is bound to.
    public var local: SocketAddress {
        if let known = listener?.onlyLocal { return known }
        return (fd >= 0 ? SocketAddress.local(of: fd) : nil) ?? .unix(path: "")
    }

    /// The descriptor, for socket options; it stays the socket's. -1 when closed.
    public var descriptor: CInt { fd }

    // MARK: Events

    public override func ready(_ events: PollEvents) {
        if phase == .connecting { finishConnecting() }
        guard phase == .open else { return }
        if !events.isDisjoint(with: [.readable, .readHangUp, .hangUp, .error]) {
            flags.insert(.canRead)
            if !events.isDisjoint(with: [.readHangUp, .hangUp, .error]) { flags.insert(.hungUp) }
        }
        // Nobody reads, so nobody would learn that the peer is gone.
        if events.contains(.error), flags.contains(.isPaused) { return close(pendingError()) }
        if !output.isEmpty, events.isEmpty || !events.isDisjoint(with: [.writable, .hangUp, .error]) { flush() }
        if !flags.isDisjoint(with: [.canRead, .mustOffer]), !flags.contains(.isPaused) { readAvailable() }
    }

    public override func loopDidStop() {
        close(SystemError(errno: ECANCELED, call: "loop", subject: loop.name))
    }

    private func finishConnecting() {
        if let failure = pendingError() {
            return close(SystemError(errno: failure.errno, call: "connect", subject: peer.description))
        }
        loop.cancel(connectTimer)
        phase = .open
        dispatch { $0.streamDidConnect(self) }
    }

    /// The error that the kernel keeps for a socket; for a pipe, that its reader is gone.
    private func pendingError() -> SystemError? {
        guard isSocket else { return SystemError(errno: EPIPE, call: "write", subject: peer.description) }
        var failure: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        if getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length) != 0 { failure = errno }
        return failure == 0 ? nil : SystemError(errno: failure, call: "read", subject: peer.description)
    }

    /// Calls the handler without counting references, with output gathered until it returns.
    @inline(__always)
    private func dispatch(_ body: (StreamHandler) -> Void) {
        guard let owner = owner.map(Unmanaged.passUnretained) else { return }
        let isOutermost = !flags.contains(.isDispatching)
        flags.insert(.isDispatching)
        // A handler that is replaced or dropped is kept by the loop until the turn ends.
        owner._withUnsafeGuaranteedRef(body)
        guard isOutermost else { return }
        flags.remove(.isDispatching)
        loop.cork.release(self)
        if phase == .closed { releaseInput() }
    }

    private func readAvailable() {
        var (reads, bytes) = (0, 0)
        while true {
            // Before the next read, which may find the end: what the handler left for its successor is still to be had.
            if flags.contains(.mustOffer) {
                flags.remove(.mustOffer)
                offerInput()
            }
            guard flags.contains(.canRead), !flags.contains(.isPaused), phase == .open else { return }
            guard reads < Self.maximumReadsInTurn, bytes < Self.maximumBytesInTurn else { return loop.again(self) }
            reads += 1
            if input != nil {
                guard makeRoom() else { return }
            }
            let room =
                input.map {
                    UnsafeMutableRawBufferPointer(start: $0.base + inputCount, count: $0.capacity - inputCount)
                }
                ?? loop.scratch
            let count =
                isSocket ? recv(fd, room.baseAddress, room.count, 0) : Glibc.read(fd, room.baseAddress, room.count)
            if count > 0 {
                bytes += count
                // A short read has emptied the kernel's buffer, unless the end of the stream stands behind it.
                if count < room.count, !flags.contains(.hungUp) { flags.remove(.canRead) }
                if input == nil {
                    offer(UnsafeRawBufferPointer(start: room.baseAddress, count: count))
                } else {
                    inputCount += count
                    offerInput()
                }
            } else if count == 0 {
                flags.remove(.canRead)
                flags.insert(.peerEnded)
                releaseInput()
                dispatch { $0.streamDidEnd(self) }
                closeWhenBothEnded()
            } else if errno == EAGAIN {
                flags.remove(.canRead)
            } else if errno != EINTR {
                close(.last("read", peer.description))
            }
        }
    }

    /// Offers bytes that stand in the scratch buffer, and keeps what is left of them.
    private func offer(_ bytes: UnsafeRawBufferPointer) {
        var consumed = bytes.count
        dispatch { consumed = $0.streamDidRead(self, bytes) }
        precondition(consumed >= 0 && consumed <= bytes.count, "a stream handler consumed what was not there")
        guard phase == .open, consumed < bytes.count else { return }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
        let block = loop.pool.take(atLeast: rest.count)
        block.base.copyMemory(from: rest.baseAddress!, byteCount: rest.count)
        input = block
        inputCount = rest.count
    }

    /// Offers the kept input.
    private func offerInput() {
        guard let block = input, phase == .open else { return }
        var consumed = inputCount
        dispatch { consumed = $0.streamDidRead(self, UnsafeRawBufferPointer(start: block.base, count: inputCount)) }
        precondition(consumed >= 0 && consumed <= inputCount, "a stream handler consumed what was not there")
        guard phase == .open else { return }
        inputCount -= consumed
        if inputCount == 0 { return releaseInput() }
        if consumed > 0 { memmove(block.base, block.base + consumed, inputCount) }
    }

    /// Sees that the kept input has room behind it; false when the limit is reached and the socket closed.
    private func makeRoom() -> Bool {
        guard let block = input, block.capacity - inputCount < Self.minimumRoom else { return true }
        guard inputCount < options.inputLimit else {
            close(SystemError(errno: EMSGSIZE, call: "read", subject: peer.description))
            return false
        }
        let larger = loop.pool.take(atLeast: block.capacity * 2)
        larger.base.copyMemory(from: block.base, byteCount: inputCount)
        loop.pool.give(back: block)
        input = larger
        return true
    }

    private func releaseInput() {
        guard let block = input else { return }
        loop.pool.give(back: block)
        input = nil
        inputCount = 0
    }

    // MARK: Reading

    /// Stops to read: the peer meets a full window. Input that is not consumed stays where it is.
    public func pauseReading() { flags.insert(.isPaused) }

    /// Reads on; kept input is offered again. Never calls the handler within this call.
    public func resumeReading() {
        guard flags.contains(.isPaused) else { return }
        flags.remove(.isPaused)
        if input != nil { flags.insert(.mustOffer) }
        if phase == .open, !flags.isDisjoint(with: [.canRead, .mustOffer]) { loop.again(self) }
    }

    /// Offers kept input again in this turn or the next though nothing new came: for a handler that left some of it for
    /// reasons of its own.
    public func offerAgain() {
        guard input != nil || flags.contains(.isDispatching) else { return }
        flags.insert(.mustOffer)
        loop.again(self)
    }

    // MARK: Writing

    /// Sends the bytes, or queues a copy of what the peer does not take. False when the queue stands above the
    /// high-water mark (stop until `streamDidDrain`), or the socket is closed or shut.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count > 0, mayWrite else { return bytes.count == 0 && mayWrite }
        if output.isEmpty, phase == .open {
            if flags.contains(.isDispatching), loop.cork.append(bytes, for: self) { return true }
            guard phase == .open else { return false }
            let sent = sendNow(bytes)
            guard sent >= 0 else { return false }
            guard sent < bytes.count else { return true }
            output.append(copying: UnsafeRawBufferPointer(rebasing: bytes[sent...]), loop.pool)
        } else {
            output.append(copying: bytes, loop.pool)
        }
        return isBelowHighWater()
    }

    /// As above, but what must wait is kept by reference: for frames that many peers are sent.
    @discardableResult
    public func write(_ bytes: [UInt8]) -> Bool {
        guard bytes.count > 0, mayWrite else { return bytes.isEmpty && mayWrite }
        if output.isEmpty, phase == .open {
            if flags.contains(.isDispatching), bytes.withUnsafeBytes({ loop.cork.append($0, for: self) }) {
                return true
            }
            guard phase == .open else { return false }
            let sent = bytes.withUnsafeBytes { sendNow($0) }
            guard sent >= 0 else { return false }
            guard sent < bytes.count else { return true }
            output.append(sharing: bytes, from: sent)
        } else {
            output.append(sharing: bytes, from: 0)
        }
        return isBelowHighWater()
    }

    /// Sends two pieces, the one behind the other, in one system call; otherwise as `write`.
    @discardableResult
    public func write(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Bool {
        guard mayWrite else { return false }
        guard output.isEmpty, phase == .open, !first.isEmpty, !second.isEmpty, !flags.contains(.isDispatching) else {
            // The second is queued also when the first has filled the queue.
            let isBelow = write(first)
            return write(second) && isBelow
        }
        let sent = sendNow(first, second)
        guard sent >= 0 else { return false }
        guard sent < first.count &+ second.count else { return true }
        if sent < first.count { output.append(copying: UnsafeRawBufferPointer(rebasing: first[sent...]), loop.pool) }
        let rest = max(0, sent &- first.count)
        output.append(copying: UnsafeRawBufferPointer(rebasing: second[rest...]), loop.pool)
        return isBelowHighWater()
    }

    /// Queues what `fill` puts into the memory that it is lent (`capacity` bytes at least; it answers how many it used):
    /// saves the copy within a handler's call, where output is gathered anyway.
    @discardableResult
    public func write(capacity: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Int) -> Bool {
        guard mayWrite else { return false }
        if output.isEmpty, phase == .open, flags.contains(.isDispatching),
            let room = loop.cork.room(capacity, for: self)
        {
            loop.cork.commit(fill(room))
            return true
        }
        return withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 16) { room in
            let used = fill(room)
            return write(UnsafeRawBufferPointer(rebasing: room[..<used]))
        }
    }

    private var mayWrite: Bool {
        phase != .closed && flags.isDisjoint(with: [.shutdownAsked, .closeAsked])
    }

    /// One attempt past the queue; -1 when the socket had to be closed.
    @inline(__always)
    private func sendNow(_ bytes: UnsafeRawBufferPointer) -> Int {
        while true {
            let sent =
                isSocket
                ? send(fd, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL_))
                : Glibc.write(fd, bytes.baseAddress, bytes.count)
            if sent >= 0 { return sent }
            switch errno {
            case EINTR: continue
            case EAGAIN: return 0
            default:
                close(.last("write", peer.description))
                return -1
            }
        }
    }

    /// One attempt at both pieces; as `sendNow`.
    private func sendNow(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            parts[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count)
            parts[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
            var message = msghdr()
            message.msg_iov = parts.baseAddress
            message.msg_iovlen = 2
            while true {
                let sent =
                    isSocket ? sendmsg(fd, &message, CInt(MSG_NOSIGNAL_)) : writev(fd, parts.baseAddress, 2)
                if sent >= 0 { return sent }
                switch errno {
                case EINTR: continue
                case EAGAIN: return 0
                default:
                    close(.last("write", peer.description))
                    return -1
                }
            }
        }
    }

    /// Sends what was gathered while the handler ran. Called by the cork.
    func sendGathered(_ bytes: UnsafeRawBufferPointer) {
        guard phase == .open else { return }
        let sent = output.isEmpty ? sendNow(bytes) : 0
        guard sent >= 0, sent < bytes.count else { return }
        output.append(copying: UnsafeRawBufferPointer(rebasing: bytes[sent...]), loop.pool)
        _ = isBelowHighWater()
    }

    private func isBelowHighWater() -> Bool {
        guard output.count > options.highWaterMark else { return true }
        flags.insert(.isAboveHighWater)
        if output.count > options.outputLimit {
            close(SystemError(errno: ENOBUFS, call: "write", subject: peer.description))
        }
        return false
    }

    /// Writes the queue as far as the peer takes it, and tells the handler when it has drained.
    private func flush() {
        guard !flags.contains(.isFlushing) else { return }
        flags.insert(.isFlushing)
        defer { flags.remove(.isFlushing) }
        while phase == .open {
            let failure = output.write(to: fd, isSocket: isSocket, loop.pool)
            guard failure == 0 || failure == EAGAIN else {
                return close(SystemError(errno: failure, call: "write", subject: peer.description))
            }
            if flags.contains(.isAboveHighWater), output.count <= options.lowWaterMark {
                flags.remove(.isAboveHighWater)
                dispatch { $0.streamDidDrain(self) }
                if failure == 0, !output.isEmpty { continue }
            }
            if failure == 0 { finishWriting() }
            return
        }
    }

    // MARK: Ending

    /// Sends FIN once the queued output is written; reading goes on.
    public func shutdownWrite() {
        guard mayWrite else { return }
        loop.cork.release(self)
        flags.insert(.shutdownAsked)
        if phase == .open, output.isEmpty { finishWriting() }
    }

    /// Closes once the queued output is written; nothing more can be written, and input is dropped.
    public func closeAfterWrite() {
        guard phase != .closed else { return }
        loop.cork.release(self)
        flags.insert(.closeAsked)
        flags.insert(.isPaused)
        if phase != .connecting, output.isEmpty { finishWriting() }
    }

    private func finishWriting() {
        guard output.isEmpty, phase != .closed else { return }
        if flags.contains(.closeAsked) { return close(nil) }
        guard flags.contains(.shutdownAsked), !flags.contains(.shutdownDone) else { return }
        flags.insert(.shutdownDone)
        if isSocket {
            shutdown(fd, CInt(SHUT_WR))
            closeWhenBothEnded()
        } else {
            close(nil)
        }
    }

    private func closeWhenBothEnded() {
        if phase == .open, flags.isSuperset(of: [.peerEnded, .shutdownDone]) { close(nil) }
    }

    /// Closes at once; queued output is lost. `error` is what `streamDidClose` is told. On the loop.
    public func close(_ error: SystemError? = nil) {
        guard phase != .closed else { return }
        assert(loop.isCurrent, "streams are closed on their loop")
        phase = .closed
        loop.cork.forget(self)
        loop.cancel(connectTimer)
        if flags.contains(.isAdopted) { loop.deregister(registration) } else { loop.deregisterClosing(registration) }
        Glibc.close(fd)
        fd = -1
        output.removeAll(loop.pool)
        // A handler that closes may still look at the bytes it was offered.
        if !flags.contains(.isDispatching) { releaseInput() }
        if let owner {
            self.owner = nil
            loop.releaseLater(owner)
            owner.streamDidClose(self, error)
        }
        if let listener {
            self.listener = nil
            listener.streamDidClose()
        }
    }

    /// Closes with RST: the peer's reads fail at once, and no port waits for late packets.
    public func reset(_ error: SystemError? = nil) {
        guard phase != .closed else { return }
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close(error)
    }
}
