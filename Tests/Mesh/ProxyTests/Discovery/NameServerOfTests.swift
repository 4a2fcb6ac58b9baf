import Bytes
import DNSMessage
import Reactor
import Synchronization

/// A name server that answers every question of one type with what a test has put into it.
final class NameServerOfTests: DatagramHandler, @unchecked Sendable {
    enum Answer: Sendable {
        case addresses([IPAddress], ttl: UInt32)
        case code(UInt8)
        case silence
        /// To another question than the one that was asked.
        case lie(IPAddress)
    }

    // Shared state is behind the mutex; the socket is its loop's.
    private let state = Mutex<(answer: Answer, questions: Int)>((.silence, 0))
    private var socket: DatagramSocket?
    private let loop: EventLoop

    init(on loop: EventLoop) async throws {
        self.loop = loop
        super.init()
        try await loop.perform { [self] in
            socket = try DatagramSocket(.ip(.loopbackV4, 0), on: loop, handler: self)
        }
    }

    var port: UInt16 {
        get async throws { try await loop.perform { [self] in socket?.address.port?.rawValue ?? 0 } }
    }

    var questions: Int { state.withLock { $0.questions } }

    func say(_ answer: Answer) { state.withLock { $0.answer = answer } }

    func close() { loop.submit { [self] in socket?.close() } }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        guard let query = try? DNSQuery(datagram.bytes) else { return }
        let answer = state.withLock { state in
            state.questions += 1
            return state.answer
        }
        var message = Array(datagram.bytes[..<query.questionEnd])
        message.replaceSubrange(2..<12, with: [0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0])
        switch answer {
        case .silence: return
        case .code(let code): message[3] = 0x80 | code
        case .lie(let address):
            message[13] ^= 1
            append([address], 60, to: &message)
        case .addresses(let addresses, let ttl): append(query.type == .a ? addresses : [], ttl, to: &message)
        }
        message.withUnsafeBytes { _ = socket.send($0, to: datagram.source) }
    }

    private func append(_ addresses: [IPAddress], _ ttl: UInt32, to message: inout [UInt8]) {
        message[7] = UInt8(addresses.count)
        for address in addresses {
            let value = UInt32(truncatingIfNeeded: address.low)
            message += [0xC0, 12, 0, 1, 0, 1] + [24, 16, 8, 0].map { UInt8(ttl >> $0 & 255) } + [0, 4]
            message += [24, 16, 8, 0].map { UInt8(value >> $0 & 255) }
        }
    }
}
