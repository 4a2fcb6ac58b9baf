import Bytes
import DNSMessage
import Reactor

/// Asks upstream servers on behalf of clients. One a loop.
///
/// Each upstream has a connected UDP socket that is replaced after `queriesPerSocket` questions, so that neither port nor id
/// can be guessed for long; an answer counts only when id, name and type are those of a question under way (RFC 5452).
final class Forwarder: DatagramHandler, @unchecked Sendable {
    // `@unchecked`: everything here is touched on `loop` only.
    typealias Completion = (_ answer: [UInt8]?) -> Void

    private final class Upstream {
        let endpoint: IPEndpoint
        var socket: DatagramSocket?
        var sent = 0
        var failures = 0

        init(_ endpoint: IPEndpoint) { self.endpoint = endpoint }
    }

    private struct Pending {
        var query: DNSQuery
        var message: [UInt8]
        var upstream: Int
        var attempts: Int
        var timer: TimerHandle
        var completion: Completion
    }

    /// How long an upstream may take.
    static let timeout: Duration = .seconds(2)
    /// Questions through one socket before it is replaced.
    static let queriesPerSocket = 256
    /// Questions under way at most, whatever `max_concurrent` says: ids are 16 bits.
    static let pendingLimit = 16_384

    let options: ForwardOptions
    private let loop: EventLoop
    private var upstreams: [Upstream]
    private var pending: [UInt16: Pending] = [:]
    private var turn = 0
    /// Questions refused because too many were under way.
    private(set) var rejected = 0

    init(_ options: ForwardOptions, on loop: EventLoop) {
        self.options = options
        self.loop = loop
        upstreams = options.upstreams.map(Upstream.init)
    }

    /// Whether this question is to be forwarded.
    func takes(_ name: DNSName) -> Bool {
        name.isIn(options.zone) && !options.exceptions.contains(where: name.isIn)
    }

    enum Acceptance { case accepted, tooMany }

    /// Asks; `completion` gets the answer with the upstream's id, or nil when no upstream gave one.
    ///
    /// - Parameter overTCP: the client came over TCP, or an answer over UDP was truncated.
    func ask(
        _ query: DNSQuery, _ message: UnsafeRawBufferPointer, overTCP: Bool, _ completion: @escaping Completion
    ) -> Acceptance {
        let limit = options.maxConcurrent > 0 ? min(options.maxConcurrent, Self.pendingLimit) : Self.pendingLimit
        guard pending.count < limit else {
            rejected += 1
            return .tooMany
        }
        guard !upstreams.isEmpty else {
            completion(nil)
            return .accepted
        }
        if overTCP || options.usesTCP {
            let bytes = Array(message)
            let endpoints = order().map { upstreams[$0].endpoint }
            let done = Handover(completion)
            loop.task { done.body(await Self.askOverTCP(bytes, endpoints, on: EventLoop.current)) }
            return .accepted
        }
        let first = order()[0]
        send(
            Pending(
                query: query, message: Array(message), upstream: first, attempts: 0, timer: .none,
                completion: completion))
        return .accepted
    }

    /// Upstreams in the order to try them: healthy ones first, then by policy.
    private func order() -> [Int] {
        turn &+= 1
        var indexes = Array(upstreams.indices)
        switch options.policy {
        case .random: indexes.shuffle()
        case .roundRobin: indexes = indexes.map { ($0 + turn) % indexes.count }
        case .sequential: break
        }
        guard options.maxFails > 0 else { return indexes }
        return indexes.filter { upstreams[$0].failures < options.maxFails }
            + indexes.filter { upstreams[$0].failures >= options.maxFails }
    }

    private func send(_ entry: Pending) {
        var entry = entry
        var id = UInt16.random(in: .min ... .max)
        while pending[id] != nil { id &+= 1 }
        let upstream = upstreams[entry.upstream]
        do {
            if upstream.socket == nil || upstream.sent >= Self.queriesPerSocket {
                // Answers that are still to come to the old socket are lost: their questions are asked again.
                upstream.socket?.close()
                let any = upstream.endpoint.address.family == .v4 ? IPAddress.anyV4 : IPAddress.anyV6
                upstream.socket = try DatagramSocket(
                    SocketAddress(IPEndpoint(any, Port(rawValue: 0))), on: loop,
                    connectedTo: SocketAddress(upstream.endpoint), handler: self)
                upstream.sent = 0
            }
        } catch {
            return retry(entry)
        }
        entry.message[0] = UInt8(id >> 8)
        entry.message[1] = UInt8(truncatingIfNeeded: id)
        upstream.sent += 1
        entry.timer = loop.schedule(after: Self.timeout) { [weak self] in self?.timedOut(id) }
        pending[id] = entry
        entry.message.withUnsafeBytes { _ = upstream.socket?.send($0, to: upstream.endpoint) }
    }

    private func timedOut(_ id: UInt16) {
        guard let entry = pending.removeValue(forKey: id) else { return }
        retry(entry)
    }

    /// The next upstream, twice around at most.
    private func retry(_ entry: Pending) {
        var entry = entry
        upstreams[entry.upstream].failures += 1
        entry.attempts += 1
        guard entry.attempts < 2 * upstreams.count else { return entry.completion(nil) }
        entry.upstream = (entry.upstream + 1) % upstreams.count
        send(entry)
    }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        guard let response = DNSResponse(datagram.bytes), let entry = pending[response.id],
            upstreams[entry.upstream].socket === socket, response.type == entry.query.type,
            response.nameLength == entry.query.nameLength, isSameName(datagram.bytes, entry)
        else { return }
        pending[response.id] = nil
        loop.cancel(entry.timer)
        upstreams[entry.upstream].failures = 0
        entry.completion(Array(datagram.bytes))
    }

    override func datagramDidFail(_ socket: DatagramSocket, _ error: SystemError) {
        // The upstream's host says that nobody listens: its questions need not wait for their time-out.
        for (id, entry) in pending where upstreams[entry.upstream].socket === socket {
            loop.cancel(entry.timer)
            pending[id] = nil
            retry(entry)
        }
    }

    private func isSameName(_ bytes: UnsafeRawBufferPointer, _ entry: Pending) -> Bool {
        for i in DNSQuery.headerSize..<(DNSQuery.headerSize + entry.query.nameLength)
        where lowercased(bytes[i]) != lowercased(entry.message[i]) {
            return false
        }
        return true
    }

    func close() {
        for upstream in upstreams { upstream.socket?.close() }
        for entry in pending.values {
            loop.cancel(entry.timer)
            entry.completion(nil)
        }
        pending = [:]
    }

    private static func askOverTCP(_ message: [UInt8], _ endpoints: [IPEndpoint], on loop: EventLoop?) async -> [UInt8]?
    {
        guard let loop else { return nil }
        for endpoint in endpoints {
            let answer = try? await withTimeout(timeout * 2, on: loop) { () async throws -> [UInt8]? in
                let connection = try await StreamConnection.connect(
                    to: SocketAddress(endpoint), on: loop, timeout: timeout)
                defer { connection.close() }
                try await connection.write(
                    [UInt8(message.count >> 8), UInt8(truncatingIfNeeded: message.count)] + message)
                var received: [UInt8] = []
                while received.count < 2 || received.count < 2 + Int(received[0]) << 8 + Int(received[1]) {
                    let chunk = try await connection.read()
                    guard !chunk.isEmpty else { return nil }
                    received += chunk
                }
                return Array(received[2..<(2 + Int(received[0]) << 8 + Int(received[1]))])
            }
            if let answer = answer ?? nil, answer.count >= DNSQuery.headerSize, answer[0] == message[0],
                answer[1] == message[1]
            {
                return answer
            }
        }
        return nil
    }
}

/// Carries a completion into a task that runs on the same loop.
private struct Handover: @unchecked Sendable {
    // The task runs on the loop that the completion belongs to.
    let body: Forwarder.Completion
    init(_ body: @escaping Forwarder.Completion) { self.body = body }
}
