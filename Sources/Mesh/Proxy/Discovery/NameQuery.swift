import Bytes
import DNSMessage
import Reactor

/// One look-up of a name over UDP: servers in turn until one answers, for one family of addresses after the other.
/// Never blocks its loop. Holds itself until it has told the outcome.
final class NameQuery: DatagramHandler, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from DatagramHandler; only the loop's thread calls any of this.
    enum Outcome: Sendable, Equatable {
        /// Empty when the name has none, or is not there. `ttl` in seconds.
        case addresses([IPAddress], ttl: UInt32?)
        case failed(String)
    }

    /// How long a server may take, and how often all are asked.
    static let patience = Duration.seconds(5)
    static let rounds = 2

    private let loop: EventLoop
    private let names: [DNSName]
    private let servers: [IPEndpoint]
    private let families: (types: [IPAddress.Family], takesAll: Bool)
    private var done: ((Outcome) -> Void)?
    private var socket: DatagramSocket?
    private var timer = TimerHandle.none
    private var random: SplitMix64
    private var id: UInt16 = 0
    private var number = (name: 0, family: 0, attempt: 0)
    private var found: [IPAddress] = []
    private var ttl: UInt32?
    private var problem = ""

    /// On the loop; `done` is called there, never within this call.
    init(
        _ name: String, _ host: HostResolution, servers: [IPEndpoint], _ family: NamedEndpoints.Family,
        on loop: EventLoop, seed: UInt64, done: @escaping (Outcome) -> Void
    ) {
        self.loop = loop
        self.servers = servers.isEmpty ? host.servers : servers
        families = family.queries
        names = host.candidates(name)
        random = SplitMix64(seed: seed)
        self.done = done
        super.init()
        let known = IPAddress(name).map { [$0] } ?? host.hosts[name.lowercased()] ?? []
        let wanted = families.types.flatMap { type in known.filter { $0.family == type } }
        loop.schedule(after: .zero) { [self] in
            if !known.isEmpty {
                let first = wanted.first?.family
                finish(.addresses(families.takesAll ? wanted : wanted.filter { $0.family == first }, ttl: nil))
            } else if names.isEmpty {
                finish(.failed("\"\(name)\" is no host name"))
            } else {
                ask()
            }
        }
    }

    func cancel() {
        done = nil
        close()
    }

    private func close() {
        loop.cancel(timer)
        socket?.close()
        socket = nil
    }

    private func finish(_ outcome: Outcome) {
        close()
        let told = done
        done = nil
        told?(outcome)
    }

    private func ask() {
        close()
        guard done != nil else { return }
        guard number.attempt < servers.count * Self.rounds else {
            return finish(.failed(problem.isEmpty ? "no name server answers" : problem))
        }
        let server = servers[number.attempt % servers.count]
        do {
            let any: SocketAddress = .ip(server.address.family == .v4 ? .anyV4 : .anyV6, Port(0))
            let socket = try DatagramSocket(
                any, on: loop, connectedTo: .ip(server.address, server.port), handler: self)
            self.socket = socket
            id = UInt16(truncatingIfNeeded: random.next())
            let type: RecordType = families.types[number.family] == .v4 ? .a : .aaaa
            var message: [UInt8] = [UInt8(id >> 8), UInt8(id & 255), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
            message += names[number.name].wire + [0, UInt8(type.rawValue), 0, UInt8(internetClass)]
            message.withUnsafeBytes { _ = socket.send($0, to: server) }
        } catch {
            problem = error.description
        }
        timer = loop.schedule(after: socket == nil ? .zero : Self.patience) { [self] in
            if problem.isEmpty { problem = "name server \(server) does not answer" }
            number.attempt += 1
            ask()
        }
    }

    override func datagramDidFail(_ socket: DatagramSocket, _ error: SystemError) {
        guard socket === self.socket else { return }
        problem = "\(error)"
        number.attempt += 1
        // Not within the call of the socket that is closed.
        loop.schedule(after: .zero) { [self] in ask() }
    }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        guard socket === self.socket, let answer = DNSResponse(datagram.bytes), answer.id == id,
            answer.nameLength == names[number.name].wire.count, isQuestion(datagram.bytes, answer)
        else { return }
        switch answer.code {
        case .noError: take(datagram.bytes, answer)
        case .nameError: next()
        default:
            problem = "the name server says \(answer.code)"
            number.attempt += 1
            ask()
        }
    }

    private func isQuestion(_ bytes: UnsafeRawBufferPointer, _ answer: DNSResponse) -> Bool {
        let type: RecordType = families.types[number.family] == .v4 ? .a : .aaaa
        let asked = names[number.name].wire
        return answer.type == type
            && asked.indices.allSatisfy {
                DNSMessage.lowercased(bytes[DNSQuery.headerSize + $0]) == DNSMessage.lowercased(asked[$0])
            }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ answer: DNSResponse) {
        var cursor = ByteCursor(bytes)
        guard cursor.seek(to: DNSQuery.headerSize + answer.nameLength + 4) else { return }
        var addresses: [IPAddress] = []
        for _ in 0..<answer.answerCount {
            guard let record = RecordHeader(&cursor) else { break }
            guard record.type == answer.type, record.class == internetClass,
                let address = IPAddress(bytes: UnsafeRawBufferPointer(rebasing: bytes[record.data]))
            else { continue }
            addresses.append(address)
            ttl = min(ttl ?? record.ttl, record.ttl)
        }
        found += addresses
        if !found.isEmpty, !families.takesAll { return finish(.addresses(found, ttl: ttl)) }
        next()
    }

    /// The next family; and where no family had anything, the next name of the search path.
    private func next() {
        number.attempt = 0
        number.family += 1
        if number.family == families.types.count {
            if !found.isEmpty || number.name + 1 == names.count { return finish(.addresses(found, ttl: ttl)) }
            number.family = 0
            number.name += 1
        }
        ask()
    }
}
