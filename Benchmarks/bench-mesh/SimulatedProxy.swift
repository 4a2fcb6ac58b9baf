import Bytes
import HTTP
import Reactor
import TLS

/// One proxy as the control plane sees it: an aggregated stream over HTTP/2, with TLS or without, which takes whatever it is sent and keeps
/// nothing of it, so that a thousand of them are cheap; written by hand for the same reason. Belongs to one loop.
final class SimulatedProxy: Channel, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from Channel; only the loop's thread calls any of this.

    private let subscription: Subscription
    private let name: String
    /// It has all that it asked for.
    private let ready: (Result<Void, any Error>) -> Void
    /// It was told of a resource of a kind, when it had everything.
    private let told: (_ kind: Int) -> Void

    private var input = GrowingBytes()
    /// The gRPC message that is on its way.
    private var message = GrowingBytes()
    private var isReady = false
    private var hasAsked = false
    /// The kind that is waited for, and how many of it.
    private var stage = 0
    private var missing = 1

    init(
        _ subscription: Subscription, name: String, tls: TLSContext?,
        ready: @escaping (Result<Void, any Error>) -> Void,
        told: @escaping (_ kind: Int) -> Void
    ) throws {
        (self.subscription, self.name, self.ready, self.told) = (subscription, name, ready, told)
        super.init(try tls.map { context throws(TLSError) in try TLSSession(context) })
    }

    deinit {
        input.deallocate()
        message.deallocate()
    }

    func connect(to address: SocketAddress, on loop: EventLoop) throws {
        attach(try StreamSocket.connect(to: address, on: loop, handler: self))
    }

    override func channelOpened() {
        var head: [UInt8] = []
        for (name, value) in [
            (":method", "POST"), (":scheme", "http"), (":authority", "xds"), (":path", subscription.path),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] {
            // A literal that no table takes (RFC 7541 §6.2.2).
            head += [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
        }
        // Windows as large as they may be: nothing is ever given back.
        let settings: [UInt8] = [0, 4, 0x7f, 0xff, 0xff, 0xff]
        transmit(
            Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(4, 0, 0, settings)
                + Self.frame(8, 0, 0, [0x7f, 0xfe, 0, 0]) + Self.frame(1, 4, 1, head))
    }

    override func channelClosed(_ error: (any Error)?) {
        let failure = error ?? Failure("the server closed the connection")
        if !isReady { ready(.failure(failure)) } else { note("\(name): \(failure)") }
    }

    override func channelEnded() { closeAfterWrite() }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        guard input.isEmpty else {
            input.append(bytes)
            input.removeFirst(takeFrames(input.bytes))
            return
        }
        let taken = takeFrames(bytes)
        input.append(UnsafeRawBufferPointer(rebasing: bytes[taken...]))
    }

    /// - Returns: How many bytes the whole frames had.
    private func takeFrames(_ bytes: UnsafeRawBufferPointer) -> Int {
        var position = 0
        while bytes.count - position >= 9 {
            let size = Int(bytes[position]) << 16 | Int(bytes[position + 1]) << 8 | Int(bytes[position + 2])
            guard bytes.count - position >= 9 + size else { break }
            let body = UnsafeRawBufferPointer(rebasing: bytes[(position + 9)..<(position + 9 + size)])
            take(bytes[position + 3], bytes[position + 4], body)
            position += 9 + size
        }
        return position
    }

    private func take(_ kind: UInt8, _ flags: UInt8, _ body: UnsafeRawBufferPointer) {
        switch kind {
        case 0:
            message.append(body)
            takeMessages()
        case 4 where flags & 1 == 0:
            transmit(Self.frame(4, 1, 0, []))
            guard !hasAsked else { break }
            // Only now are the server's windows known to be large.
            hasAsked = true
            var node: [UInt8] = []
            node.append(1, name.utf8)
            node.append(6, "weft-proxy".utf8)
            send(message: subscription.request(0, node: node))
        case 6 where flags & 1 == 0: transmit(Self.frame(6, 1, 0, Array(body)))
        case 3, 7: closeAfterWrite()
        default: break
        }
    }

    private func takeMessages() {
        while message.count >= 5 {
            let head = message.bytes
            let size = (1..<5).reduce(0) { $0 << 8 | Int(head[$1]) }
            guard message.count >= 5 + size else { return }
            take(response: UnsafeRawBufferPointer(rebasing: head[5..<(5 + size)]))
            message.removeFirst(5 + size)
        }
        if message.isEmpty { message.deallocate() }
    }

    private func take(response: UnsafeRawBufferPointer) {
        var (position, resources) = (0, 0)
        var (version, type, nonce) = (response[..<0], response[..<0], response[..<0])
        while position < response.count {
            let tag = response[position]
            position += 1
            var (length, shift) = (0, 0)
            while position < response.count {
                let byte = response[position]
                position += 1
                length |= Int(byte & 0x7f) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            let field = response[position..<min(position + length, response.count)]
            switch tag >> 3 {
            case 1: version = field
            case 2: resources += 1
            case 4: type = field
            case 5: nonce = field
            // Of a delta: resources that are gone; else the name of the control plane.
            case 6 where subscription.form == .delta: resources += 1
            default: break
            }
            position += length
        }
        guard let kind = subscription.kinds.firstIndex(where: { $0.typeURL.utf8.elementsEqual(type) }) else { return }
        send(
            message: subscription.acknowledgement(
                kind, version: UnsafeRawBufferPointer(rebasing: version), nonce: UnsafeRawBufferPointer(rebasing: nonce)
            ))
        guard !isReady else { return told(kind) }
        guard kind == stage else { return }
        missing -= subscription.kinds[kind].count == 0 ? missing : resources
        if missing <= 0 { ask() }
    }

    private func ask() {
        stage += 1
        guard stage < subscription.kinds.count else {
            isReady = true
            return ready(.success(()))
        }
        missing = max(1, subscription.kinds[stage].count)
        send(message: subscription.request(stage, node: []))
    }

    // MARK: Bytes

    private func transmit(_ bytes: [UInt8]) { bytes.withUnsafeBytes { send($0) } }

    private func send(message: [UInt8]) {
        let size = UInt32(message.count)
        let framed = [0] + (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * UInt32($0))) } + message
        guard framed.count > Self.frameSize else { return transmit(Self.frame(0, 0, 1, framed)) }
        var frames: [UInt8] = []
        frames.reserveCapacity(framed.count + 9 * (framed.count / Self.frameSize + 1))
        for start in stride(from: 0, to: framed.count, by: Self.frameSize) {
            frames += Self.frame(0, 0, 1, Array(framed[start..<min(start + Self.frameSize, framed.count)]))
        }
        transmit(frames)
    }

    /// The largest that every server takes (RFC 9113 §4.2).
    private static let frameSize = 16 << 10

    private static func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt8, _ body: [UInt8]) -> [UInt8] {
        let size = body.count
        return [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255), kind, flags, 0, 0, 0, stream] + body
    }
}
