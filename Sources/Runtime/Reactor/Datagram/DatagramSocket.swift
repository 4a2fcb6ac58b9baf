import Bytes
import CLinux
import Glibc

/// One packet that came in; its bytes are valid within the handler's call.
public struct Datagram {
    public var bytes: UnsafeRawBufferPointer
    public var source: IPEndpoint
    /// The address that the packet was sent to; the unspecified address when the socket is bound to one address.
    public var destination: IPAddress
    /// The packet was longer than the socket's `maximumDatagram`; `bytes` is its beginning.
    public var isTruncated: Bool
}

/// What a socket's datagrams mean: subclass it. All calls on the socket's loop.
open class DatagramHandler: @unchecked Sendable {
    public init() {}

    /// Answers that are sent within this call leave with the rest of their batch.
    open func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {}

    /// A packet could not be sent (to a forbidden or unreachable place), or the peer of a connected socket refused one.
    open func datagramDidFail(_ socket: DatagramSocket, _ error: SystemError) {}
}

/// A UDP socket on one loop that receives and sends in batches (recvmmsg, sendmmsg).
///
/// Bound to the unspecified address it learns where each packet was sent to, so that an answer leaves from there. While the
/// kernel takes no more output it reads nothing: packets wait, and are dropped, in the kernel's queue, not in ours.
///
/// `@unchecked Sendable`: every method is called on `loop`'s thread.
public final class DatagramSocket: PollHandler, @unchecked Sendable {
    /// Packets in one system call.
    public static let batchSize = 32
    /// Batches in one event before other sockets have their turn.
    static let maximumBatchesInTurn = 8

    public let loop: EventLoop
    /// What it is bound to, with the port that the kernel chose.
    public let address: SocketAddress
    public let maximumDatagram: Int

    /// Packets since the start. On the loop.
    public private(set) var received: UInt64 = 0
    public private(set) var sent: UInt64 = 0
    /// Packets that were not sent because the queue was full, or the kernel refused them.
    public private(set) var dropped: UInt64 = 0

    private var fd: CInt
    private var registration = Registration.none
    private let handler: Unmanaged<DatagramHandler>
    private let incoming: MessageBatch
    private let outgoing: MessageBatch
    /// The unsent part of `outgoing`.
    private var firstUnsent = 0
    private var endOfUnsent = 0
    private var canRead = false
    private var isBlocked = false
    private var isDispatching = false
    private let hasPacketInfo: Bool
    private let isConnected: Bool

    /// Binds. On the loop. `connectedTo`: speaks to that peer only, and learns of its refusals.
    /// `maximumDatagram` (512…65535) bounds packets both ways and costs 64 times as much memory when busy.
    public init(
        _ address: SocketAddress, on loop: EventLoop, reusePort: Bool = false, connectedTo peer: SocketAddress? = nil,
        maximumDatagram: Int = 4096, freeBind: Bool = false, handler: DatagramHandler
    ) throws(SystemError) {
        guard case .ip(let ip, _, _) = address else {
            throw SystemError(errno: EAFNOSUPPORT, call: "socket", subject: address.description)
        }
        precondition((512...65535).contains(maximumDatagram), "datagrams of 512…65535 bytes")
        let fd = try openSocket(address.familyNumber, SOCK_DGRAM_)
        do throws(SystemError) {
            if reusePort { try setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT") }
            if freeBind { try setOption(fd, CInt(IPPROTO_IP), IP_FREEBIND_, 1, "IP_FREEBIND") }
            if ip.isUnspecified, peer == nil {
                if ip.family == .v4 {
                    try setOption(fd, CInt(IPPROTO_IP), IP_PKTINFO_, 1, "IP_PKTINFO")
                } else {
                    try setOption(fd, CInt(IPPROTO_IPV6), IPV6_RECVPKTINFO_, 1, "IPV6_RECVPKTINFO")
                    try setOption(fd, CInt(IPPROTO_IPV6), IPV6_V6ONLY, 0, "IPV6_V6ONLY")
                }
            }
            _ = try address.withKernelAddress { (pointer, length) throws(SystemError) in
                try checked("bind", address.description) { bind(fd, pointer, length) }
            }
            if let peer {
                _ = try peer.withKernelAddress { (pointer, length) throws(SystemError) in
                    try checked("connect", peer.description) { Glibc.connect(fd, pointer, length) }
                }
            }
        } catch {
            Glibc.close(fd)
            throw error
        }
        self.fd = fd
        self.loop = loop
        self.address = SocketAddress.local(of: fd) ?? address
        self.maximumDatagram = maximumDatagram
        self.handler = Unmanaged.passRetained(handler)
        hasPacketInfo = ip.isUnspecified && peer == nil
        isConnected = peer != nil
        incoming = MessageBatch(Self.batchSize, maximumDatagram)
        outgoing = MessageBatch(Self.batchSize, maximumDatagram)
        super.init()
        registration = try loop.register(fd: fd, handler: self, interest: [.readable, .writable])
    }

    deinit {
        if fd >= 0 { Glibc.close(fd) }
        handler.release()
    }

    /// Asks the kernel for larger queues, beyond its limit when we may. In bytes.
    public func setBuffers(receive: CInt, send: CInt) {
        for (option, forced, value) in [(SO_RCVBUF, SO_RCVBUFFORCE_, receive), (SO_SNDBUF, SO_SNDBUFFORCE_, send)] {
            var value = value
            let size = socklen_t(MemoryLayout<CInt>.size)
            if setsockopt(fd, SOL_SOCKET, forced, &value, size) != 0 {
                setsockopt(fd, SOL_SOCKET, option, &value, size)
            }
        }
    }

    public override func ready(_ events: PollEvents) {
        guard fd >= 0 else { return }
        if events.contains(.readable) || events.contains(.error) { canRead = true }
        if events.contains(.writable) || events.isEmpty {
            isBlocked = false
            flush()
        }
        var batches = 0
        while canRead, !isBlocked, fd >= 0 {
            guard batches < Self.maximumBatchesInTurn else { return loop.again(self) }
            batches += 1
            receiveBatch()
        }
    }

    private func receiveBatch() {
        incoming.prepareToReceive(maximumDatagram, withControl: hasPacketInfo)
        let count = recvmmsg(fd, incoming.headers, UInt32(Self.batchSize), CInt(MSG_DONTWAIT_), nil)
        guard count > 0 else {
            switch errno {
            case EINTR: break
            case EAGAIN: canRead = false
            default: report("recvmmsg")
            }
            return
        }
        if count < Self.batchSize { canRead = false }
        received &+= UInt64(count)
        isDispatching = true
        var index = 0
        while index < Int(count), fd >= 0 {
            if let source = incoming.names[index].endpoint {
                let header = incoming.headers[index]
                let datagram = Datagram(
                    bytes: UnsafeRawBufferPointer(start: incoming.bytes(index), count: Int(header.msg_len)),
                    source: source,
                    destination: hasPacketInfo ? incoming.destination(index) : .anyV4,
                    isTruncated: header.msg_hdr.msg_flags & CInt(MSG_TRUNC_) != 0)
                handler._withUnsafeGuaranteedRef { $0.datagramDidArrive(self, datagram) }
            }
            index &+= 1
        }
        isDispatching = false
        flush()
    }

    // MARK: Sending

    /// Queues a packet, which leaves with the rest of the batch, at the latest at the end of the loop's turn. `peer` is
    /// ignored by a connected socket; `local` is the address to leave from. False when it was dropped: the kernel takes
    /// no more and the queue is full, or the packet is larger than `maximumDatagram`.
    @discardableResult
    public func send(_ bytes: UnsafeRawBufferPointer, to peer: IPEndpoint, from local: IPAddress? = nil) -> Bool {
        guard bytes.count <= maximumDatagram else {
            dropped &+= 1
            return false
        }
        return send(to: peer, from: local) { room in
            room.copyMemory(from: bytes)
            return bytes.count
        }
    }

    /// As above; `fill` writes the packet where it leaves from (room of `maximumDatagram` bytes) and answers its length,
    /// or 0 to send nothing.
    @discardableResult
    @inline(__always)
    public func send(
        to peer: IPEndpoint, from local: IPAddress? = nil, _ fill: (UnsafeMutableRawBufferPointer) -> Int
    ) -> Bool {
        guard let slot = openSlot() else { return false }
        let room = UnsafeMutableRawBufferPointer(start: outgoing.bytes(slot), count: maximumDatagram)
        let count = fill(room)
        precondition(count >= 0 && count <= maximumDatagram, "a packet larger than its room")
        guard count > 0 else { return true }
        outgoing.prepareToSend(
            slot, count: count, to: isConnected ? nil : peer, from: hasPacketInfo ? local : nil)
        endOfUnsent += 1
        if !isDispatching { loop.again(self) }
        return true
    }

    private func openSlot() -> Int? {
        guard fd >= 0 else { return nil }
        if endOfUnsent == Self.batchSize { flush() }
        guard endOfUnsent < Self.batchSize else {
            dropped &+= 1
            return nil
        }
        return endOfUnsent
    }

    private func flush() {
        while firstUnsent < endOfUnsent, !isBlocked, fd >= 0 {
            let count = sendmmsg(
                fd, outgoing.headers + firstUnsent, UInt32(endOfUnsent - firstUnsent),
                CInt(MSG_DONTWAIT_ | MSG_NOSIGNAL_))
            if count > 0 {
                firstUnsent += Int(count)
                sent &+= UInt64(count)
            } else if errno == EAGAIN {
                isBlocked = true
            } else if errno != EINTR {
                // The error is the first packet's: it alone is lost.
                firstUnsent += 1
                dropped &+= 1
                report("sendmmsg")
            }
        }
        if firstUnsent == endOfUnsent { (firstUnsent, endOfUnsent) = (0, 0) }
    }

    private func report(_ call: String) {
        let error = SystemError.last(call, address.description)
        handler._withUnsafeGuaranteedRef { $0.datagramDidFail(self, error) }
    }

    /// Closes at once; packets that were not sent are lost. On the loop.
    public func close() {
        guard fd >= 0 else { return }
        loop.deregister(registration)
        Glibc.close(fd)
        fd = -1
    }

    public override func loopDidStop() { close() }
}

/// The kernel's arrays for one batch of packets, allocated once.
private final class MessageBatch {
    let headers: UnsafeMutablePointer<mmsghdr>
    let names: UnsafeMutablePointer<sockaddr_storage>
    private let vectors: UnsafeMutablePointer<iovec>
    private let control: UnsafeMutableRawPointer
    private let memory: UnsafeMutableRawPointer
    private let stride: Int
    private let count: Int

    private static let controlSpace = Int(weft_packet_info_space)

    init(_ count: Int, _ size: Int) {
        self.count = count
        stride = (size + 63) & ~63
        headers = .allocate(capacity: count)
        names = .allocate(capacity: count)
        vectors = .allocate(capacity: count)
        control = .allocate(byteCount: count * Self.controlSpace, alignment: 16)
        memory = .allocate(byteCount: count * stride, alignment: 64)
        headers.initialize(repeating: mmsghdr(), count: count)
        names.initialize(repeating: sockaddr_storage(), count: count)
        for index in 0..<count {
            (vectors + index).initialize(to: iovec(iov_base: memory + index * stride, iov_len: size))
            headers[index].msg_hdr.msg_iov = vectors + index
            headers[index].msg_hdr.msg_iovlen = 1
        }
    }

    deinit {
        headers.deallocate()
        names.deallocate()
        vectors.deallocate()
        control.deallocate()
        memory.deallocate()
    }

    func bytes(_ index: Int) -> UnsafeMutableRawPointer { memory + index &* stride }

    func prepareToReceive(_ size: Int, withControl: Bool) {
        for index in 0..<count {
            headers[index].msg_hdr.msg_name = UnsafeMutableRawPointer(names + index)
            headers[index].msg_hdr.msg_namelen = socklen_t(MemoryLayout<sockaddr_storage>.size)
            headers[index].msg_hdr.msg_control = withControl ? control + index * Self.controlSpace : nil
            headers[index].msg_hdr.msg_controllen = withControl ? Self.controlSpace : 0
            headers[index].msg_hdr.msg_flags = 0
            vectors[index].iov_len = size
        }
    }

    func destination(_ index: Int) -> IPAddress {
        var info = weft_packet_info()
        weft_packet_info_read(&headers[index].msg_hdr, &info)
        return withUnsafeBytes(of: info.address) { bytes in
            switch info.family {
            case AF_INET: IPAddress(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<4])) ?? .anyV4
            case AF_INET6: IPAddress(bytes: bytes) ?? .anyV6
            default: .anyV4
            }
        }
    }

    func prepareToSend(_ index: Int, count: Int, to peer: IPEndpoint?, from local: IPAddress?) {
        vectors[index].iov_len = count
        if let peer {
            headers[index].msg_hdr.msg_name = UnsafeMutableRawPointer(names + index)
            headers[index].msg_hdr.msg_namelen = names[index].set(peer)
        } else {
            headers[index].msg_hdr.msg_name = nil
            headers[index].msg_hdr.msg_namelen = 0
        }
        headers[index].msg_hdr.msg_control = nil
        headers[index].msg_hdr.msg_controllen = 0
        guard let local, !local.isUnspecified else { return }
        var info = weft_packet_info()
        info.family = local.family == .v4 ? AF_INET : AF_INET6
        local.withBytes { source in withUnsafeMutableBytes(of: &info.address) { $0.copyMemory(from: source) } }
        let place = control + index * Self.controlSpace
        let used = weft_packet_info_write(place, Self.controlSpace, &info)
        headers[index].msg_hdr.msg_control = used > 0 ? place : nil
        headers[index].msg_hdr.msg_controllen = used
    }
}
