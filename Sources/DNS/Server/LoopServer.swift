import Bytes
import DNSMessage
import Reactor
import Telemetry

/// Answers questions on one loop, over UDP and TCP, for one port. Its zones, forwarders and caches belong to the loop.
///
/// A question meets the server block with the longest zone that it is in, and there, in CoreDNS's order: cache, cluster names, forward.
final class LoopServer: DatagramHandler, @unchecked Sendable {
    // `@unchecked`: everything here is touched on `loop` only.

    /// A server block at work on this loop.
    final class Block {
        let config: ServerConfig.Block
        /// The cluster's names as they are now; replaced by message.
        var zone: ClusterZone?
        let forwarder: Forwarder?
        var cache: AnswerCache?

        init(_ config: ServerConfig.Block, on loop: EventLoop) {
            self.config = config
            zone = config.kubernetes.map { ClusterZone(options: $0, serial: 0) }
            forwarder = config.forward.map { Forwarder($0, on: loop) }
            cache = config.cache.map(AnswerCache.init)
        }
    }

    /// What clients got, by outcome.
    struct Counters {
        var requests: [RequestKind: Int] = [:]
        var responses: [ResponseCode: Int] = [:]
        var dropped = 0
        var truncated = 0
    }

    struct RequestKind: Hashable {
        var isTCP: Bool
        var isV6: Bool
        var type: RecordType
    }

    /// Where an answer goes.
    enum Client {
        case datagram(DatagramSocket, IPEndpoint, from: IPAddress)
        case stream(StreamSession)
    }

    let loop: EventLoop
    let blocks: [Block]
    private(set) var counters = Counters()
    private var writer = DNSAnswerWriter()
    private var rotation = 0
    private let log: Log

    init(_ configs: [ServerConfig.Block], on loop: EventLoop, log: Log) {
        self.loop = loop
        self.log = log
        blocks = configs.map { Block($0, on: loop) }
    }

    func setZone(_ zone: ClusterZone, block index: Int) { blocks[index].zone = zone }

    func close() { for block in blocks { block.forwarder?.close() } }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        answer(datagram.bytes, .datagram(socket, datagram.source, from: datagram.destination))
    }

    /// Answers a message, at once or when an upstream has.
    func answer(_ message: UnsafeRawBufferPointer, _ client: Client) {
        let query: DNSQuery
        do {
            query = try DNSQuery(message)
        } catch {
            switch error {
            case .drop: counters.dropped += 1
            case .malformed(let id): sendBare(id, 0, .formatError, client)
            case .unsupported(let id, let opcode): sendBare(id, opcode, .notImplemented, client)
            }
            return
        }
        count(query, client)
        if let extended = query.extended, extended.version != 0 {
            return send(.init(code: .badVersion), query, message, client)
        }
        guard query.class == internetClass, query.type != .axfr, query.type != .ixfr,
            let block = block(for: query, message)
        else { return refuse(query, message, client) }
        answer(query, message, block, client)
    }

    private func block(for query: DNSQuery, _ message: UnsafeRawBufferPointer) -> Block? {
        if blocks.count == 1, blocks[0].config.zones.contains(.root) { return blocks[0] }
        guard let name = query.name(in: message) else { return nil }
        var best: (block: Block, length: Int)?
        for block in blocks {
            for zone in block.config.zones where name.isIn(zone) && zone.wire.count > best?.length ?? 0 {
                best = (block, zone.wire.count)
            }
        }
        return best?.block
    }

    private func answer(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ block: Block, _ client: Client) {
        if block.config.logsQueries { logQuery(query, message, client) }
        if block.config.rotatesAnswers { rotation &+= 1 }
        if let zone = block.zone {
            switch zone.answer(query, message, rotation: rotation) {
            case .content(let content): return send(content, query, message, client)
            case .chase(let content, let target): return chase(content, target, query, message, block, client)
            case .notOurs: break
            }
        }
        guard let forwarder = block.forwarder, query.name(in: message).map(forwarder.takes) == true else {
            return refuse(query, message, client)
        }
        if let cached = block.cache?.find(query, message, now: loop.now) {
            return deliver(cached, query, message, client)
        }
        let copy = Array(message)
        let acceptance = forwarder.ask(query, message, overTCP: client.isStream) { [weak self] answer in
            self?.finish(query, copy, block, client, answer)
        }
        if acceptance == .tooMany { refuse(query, message, client) }
    }

    private func finish(_ query: DNSQuery, _ message: [UInt8], _ block: Block, _ client: Client, _ answer: [UInt8]?) {
        message.withUnsafeBytes { message in
            guard var answer else {
                log.warning(
                    "no upstream answered",
                    ["name": query.name(in: message)?.description ?? "", "type": "\(query.type)"])
                return send(.init(code: .serverFailure), query, message, client)
            }
            adopt(&answer, query, message)
            block.cache?.store(query, message, answer: answer, now: loop.now)
            deliver(answer, query, message, client)
        }
    }

    /// Follows a CNAME out of the cluster: asks an upstream for the target and puts its addresses behind the CNAME.
    private func chase(
        _ content: DNSAnswerWriter.Content, _ target: DNSName, _ query: DNSQuery, _ message: UnsafeRawBufferPointer,
        _ block: Block, _ client: Client
    ) {
        guard let forwarder = block.forwarder, forwarder.takes(target) else {
            return send(content, query, message, client)
        }
        let question = ForwardedQuestion(target, query.type)
        let copy = Array(message)
        _ = question.message.withUnsafeBytes { bytes in
            forwarder.ask(question.query, bytes, overTCP: client.isStream) { [weak self] answer in
                var content = content
                if let answer, let records = answer.withUnsafeBytes({ addressRecords(in: $0) }) {
                    content.answers.append(records)
                }
                copy.withUnsafeBytes { self?.send(content, query, $0, client) }
            }
        }
    }

    /// The `log` plugin: who asked what. Written when the question comes, so without what became of it.
    private func logQuery(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ client: Client) {
        log.info(
            "query",
            [
                "client": client.peer, "id": "\(query.id)", "type": "\(query.type)",
                "name": query.name(in: message)?.description ?? "", "proto": client.isStream ? "tcp" : "udp",
                "size": "\(message.count)", "bufsize": "\(query.extended?.payloadSize ?? 512)",
            ])
    }

    // MARK: Sending

    private func refuse(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ client: Client) {
        var content = DNSAnswerWriter.Content(code: .refused)
        content.isAuthoritative = false
        send(content, query, message, client)
    }

    private func send(
        _ content: DNSAnswerWriter.Content, _ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ client: Client
    ) {
        var content = content
        content.isRecursionAvailable = blocks.contains { $0.forwarder != nil }
        if writer.write(query, message, content, limit: limit(query, client)) { counters.truncated += 1 }
        counters.responses[content.code, default: 0] += 1
        transmit(client)
    }

    private func sendBare(_ id: UInt16, _ opcode: UInt8, _ code: ResponseCode, _ client: Client) {
        writer.writeBare(id: id, opcode: opcode, code: code)
        counters.responses[code, default: 0] += 1
        transmit(client)
    }

    private func transmit(_ client: Client) {
        switch client {
        case .datagram(let socket, let peer, let local):
            writer.bytes.withUnsafeBytes { _ = socket.send($0, to: peer, from: local) }
        case .stream(let session): session.send(writer.bytes)
        }
    }

    /// Somebody else's answer, as it is or, when the client cannot take so much, as a truncated one.
    private func deliver(_ answer: [UInt8], _ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ client: Client) {
        let code = ResponseCode(rawValue: UInt16(answer.count > 3 ? answer[3] & 15 : 2))
        guard answer.count <= limit(query, client) else {
            var content = DNSAnswerWriter.Content(code: code)
            content.isAuthoritative = false
            content.isRecursionAvailable = true
            // Too large for any room: the writer cuts it to nothing and sets TC.
            content.answers.append(.txt, ttl: 0, data: [UInt8](repeating: 0, count: 65_000))
            writer.write(query, message, content, limit: limit(query, client))
            counters.truncated += 1
            counters.responses[code, default: 0] += 1
            return transmit(client)
        }
        counters.responses[code, default: 0] += 1
        switch client {
        case .datagram(let socket, let peer, let local):
            answer.withUnsafeBytes { _ = socket.send($0, to: peer, from: local) }
        case .stream(let session): session.send(answer)
        }
    }

    private func limit(_ query: DNSQuery, _ client: Client) -> Int {
        client.isStream ? 65_535 : min(query.extended?.payloadSize ?? 512, DNSAnswerWriter.payloadSize)
    }

    private func count(_ query: DNSQuery, _ client: Client) {
        let kind = RequestKind(isTCP: client.isStream, isV6: client.isV6, type: query.type)
        counters.requests[kind, default: 0] += 1
    }
}

extension LoopServer.Client {
    var isStream: Bool { if case .stream = self { true } else { false } }

    /// The other side, for the log.
    var peer: String {
        switch self {
        case .datagram(_, let peer, _): peer.description
        case .stream(let session): session.peer
        }
    }

    var isV6: Bool {
        switch self {
        case .datagram(_, let peer, _): peer.address.family == .v6
        case .stream(let session): session.isV6
        }
    }
}

/// A question of our own making.
struct ForwardedQuestion {
    var message: [UInt8]
    var query: DNSQuery

    init(_ name: DNSName, _ type: RecordType) {
        message =
            [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name.wire
            + [UInt8(type.rawValue >> 8), UInt8(truncatingIfNeeded: type.rawValue), 0, 1]
        guard let query = message.withUnsafeBytes({ try? DNSQuery($0) }) else {
            preconditionFailure("a question made from a name is well formed")
        }
        self.query = query
    }
}

/// The address and alias records of an upstream's answer, with their names written out.
///
/// - Returns: nil when the message is malformed.
func addressRecords(in message: UnsafeRawBufferPointer) -> EncodedRecords? {
    guard let response = DNSResponse(message) else { return nil }
    var cursor = ByteCursor(message)
    guard cursor.seek(to: DNSQuery.headerSize + response.nameLength + 4) else { return nil }
    var result = EncodedRecords()
    for _ in 0..<response.answerCount {
        let start = cursor.position
        guard let record = RecordHeader(&cursor), let owner = expandedName(in: message, at: start) else { return nil }
        switch record.type {
        case .a, .aaaa: result.append(record.type, ttl: record.ttl, owner: owner, data: Array(message[record.data]))
        case .cname:
            guard let target = expandedName(in: message, at: record.data.lowerBound) else { return nil }
            result.append(.cname, ttl: record.ttl, owner: owner, data: target.wire)
        default: break
        }
    }
    return result
}

/// A name with its compression pointers followed; each must lead backwards, so that following ends.
func expandedName(in message: UnsafeRawBufferPointer, at start: Int) -> DNSName? {
    var wire: [UInt8] = []
    var (at, bound) = (start, start)
    while at < message.count {
        let length = Int(message[at])
        if length >= 0xC0 {
            guard at + 1 < message.count else { return nil }
            let target = (length & 0x3F) << 8 | Int(message[at + 1])
            guard target < bound else { return nil }
            (at, bound) = (target, target)
            continue
        }
        guard length <= DNSName.labelLimit, at + length < message.count, wire.count + length + 1 <= DNSName.lengthLimit
        else {
            return nil
        }
        wire += message[at...(at + length)]
        if length == 0 { return DNSName(wire: wire) }
        at += length + 1
    }
    return nil
}
