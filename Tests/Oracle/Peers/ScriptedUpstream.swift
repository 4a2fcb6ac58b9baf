import Bytes
import Glibc
import JSON
import Reactor

/// A server behind the proxy that answers as the row at hand says, and keeps what it was asked. On its loop.
final class ScriptedUpstream: @unchecked Sendable {
    /// What it speaks, the last word of its placeholder: `${up.NAME}`, `${up.NAME.h2}`, `${up.NAME.tcp}`. A collector of spans,
    /// `${up.NAME.otlp}`, counts and shows spans and log records instead of requests.
    enum Speech: String { case http, h2, tcp, otlp }

    let name: String
    let speech: Speech
    let port: UInt16
    private let listener: Listener
    private var replies: [UpstreamReply] = []
    private var connections: [UpstreamConnection] = []
    /// What it was asked and what it saw in this row, as lines.
    private var heard: [String] = []
    private var spans: [[String]] = []
    /// What has come, line by line. Which of two spans that end together is told first, and whether in one request, is chance.
    var seen: [String] { heard + spans.sorted { $0.joined() < $1.joined() }.flatMap(\.self) }
    /// Whole requests in this row; whole connections of raw TCP.
    private(set) var requests = 0
    /// Ports that the proxy came from, in this row or before.
    private(set) var peerPorts: Set<UInt16> = []

    init(_ name: String, _ speech: Speech, on loop: EventLoop) throws {
        self.name = name
        self.speech = speech
        let accepted = Accepted()
        listener = try Listener(.ip(.loopbackV4, 0), on: loop) { accepted.upstream?.accept($0) }
        port = listener.address.port?.rawValue ?? 0
        accepted.upstream = self
    }

    private final class Accepted { weak var upstream: ScriptedUpstream? }

    func begin(_ replies: [UpstreamReply]) {
        self.replies = replies
        (heard, spans) = ([], [])
        requests = 0
        connections.removeAll { $0.wire.isClosed }
    }

    /// All connections that this side closed are seen as closed by the proxy too: it will not use them again.
    var isSettled: Bool { connections.allSatisfy { !$0.hasFinished || $0.wire.isClosed || $0.wire.end != nil } }

    func stop() {
        listener.close()
        for connection in connections { connection.wire.close() }
    }

    /// The next reply of the row; what the row does not say is answered with 200 and "ok".
    fileprivate func nextReply() -> UpstreamReply { replies.isEmpty ? UpstreamReply() : replies.removeFirst() }

    fileprivate func record(_ request: HTTP1Message) {
        guard speech == .otlp else { return record(request.lines, isRequest: true) }
        guard !request.startLine.contains("/v1/logs") else {
            for lines in LogLines.read(request.body) { record(lines, isRequest: true) }
            return
        }
        let told = SpanLines.read(request.body)
        requests += told.count
        spans += told
    }

    fileprivate func record(_ lines: [String], isRequest: Bool) {
        if isRequest { requests += 1 }
        heard += lines
    }

    private func accept(_ socket: StreamSocket) {
        peerPorts.insert(socket.peer.port?.rawValue ?? 0)
        let wire = Wire(accepted: socket)
        let connection: UpstreamConnection =
            switch speech {
            case .http, .otlp: HTTP1Connection(self, wire)
            case .h2: HTTP2Connection(self, wire)
            case .tcp: TCPConnection(self, wire)
            }
        connections.append(connection)
        connection.begin()
    }
}

private class UpstreamConnection {
    unowned let upstream: ScriptedUpstream
    let wire: Wire
    var hasFinished = false

    init(_ upstream: ScriptedUpstream, _ wire: Wire) {
        self.upstream = upstream
        self.wire = wire
        wire.onChange = { [unowned self] _ in self.changed() }
    }

    func begin() {}
    func changed() {}

    func end(_ fate: UpstreamReply.Fate) {
        switch fate {
        case .keep: return
        case .close:
            hasFinished = true
            wire.finish()
        case .reset: wire.reset()
        }
    }
}

private final class HTTP1Connection: UpstreamConnection {
    private var reader = HTTP1Reader()
    private var early: (reply: UpstreamReply, head: Int)?
    private var isTunnel = false
    private var isHanging = false
    private var isOver = false

    override func changed() {
        if isTunnel { return tunnel() }
        while !isOver, step() {}
        guard wire.end != nil, !isOver else { return }
        isOver = true
        if isHanging {
            upstream.record(["(the proxy \(wire.end == .reset ? "reset" : "closed") the connection)"], isRequest: false)
        }
        wire.close()
    }

    /// One request, or what of it matters now; false when nothing more can be done.
    private func step() -> Bool {
        let start = reader.offset
        guard let head = reader.head(in: wire.received) else { return false }
        let isUpgrade = head["upgrade"] != nil || head.startLine.hasPrefix("CONNECT ")
        let reply = early.map(\.reply) ?? upstream.nextReply()
        if early == nil {
            early = (reply, start)
            wire.send(reply.interim)
            if reply.isEarly { answer(reply, to: head) }
            if isHanging { return false }
        }
        if isUpgrade, reply.status < 300, let end = reader.headEnd(in: wire.received) {
            early = nil
            upstream.record(head.lines, isRequest: true)
            reader.skip(to: end)
            isTunnel = reply.isEcho
            answer(reply, to: head)
            if isTunnel { tunnel() }
            return !isTunnel
        }
        guard let request = reader.next(.request, in: wire.received, hasEnded: wire.end != nil) else { return false }
        early = nil
        upstream.record(request)
        if !reply.isEarly { answer(reply, to: request) }
        return true
    }

    private func answer(_ reply: UpstreamReply, to request: HTTP1Message) {
        isHanging = reply.hangs
        wire.send(reply.http1(isHead: request.startLine.hasPrefix("HEAD ")))
        if reply.fate != .keep { isOver = true }
        end(reply.fate)
    }

    private func tunnel() {
        let bytes = Array(wire.received[reader.offset...])
        reader.skip(to: wire.received.count)
        if !bytes.isEmpty {
            upstream.record(["  tunnelled \(printable(bytes))"], isRequest: false)
            wire.send(bytes)
        }
        if wire.end != nil { wire.close() }
    }
}

private final class HTTP2Connection: UpstreamConnection {
    private let receiver = HTTP2Receiver(isServer: true)
    private var answered: Set<UInt32> = []

    override func begin() { wire.send(HTTP2Frame.settings([(8, 1)])) }

    override func changed() {
        wire.send(receiver.receive(wire.received))
        for (number, stream) in receiver.streams.sorted(by: { $0.key < $1.key }) where !answered.contains(number) {
            guard stream.isOver else { continue }
            answered.insert(number)
            upstream.record(stream.readableLines, isRequest: true)
            let reply = upstream.nextReply()
            wire.send(reply.http2(stream: number))
            end(reply.fate)
        }
        if wire.end != nil { wire.close() }
    }
}

private final class TCPConnection: UpstreamConnection {
    private var reply = UpstreamReply()
    private var hasAnswered = false
    private var isRecorded = false
    private var echoed = 0

    override func begin() {
        reply = upstream.nextReply()
        if reply.until == nil, let raw = reply.raw { answer(raw) }
    }

    override func changed() {
        if let until = reply.until, !hasAnswered,
            String(decoding: wire.received, as: UTF8.self).contains(until)
        {
            answer(reply.raw ?? wire.received)
        }
        if reply.raw == nil, reply.until == nil {
            wire.send(Array(wire.received[echoed...]))
            echoed = wire.received.count
        }
        guard let end = wire.end, !isRecorded else { return }
        isRecorded = true
        upstream.record(["received \(printable(wire.received)), then it was \(end.rawValue)"], isRequest: true)
        wire.close()
    }

    private func answer(_ bytes: [UInt8]) {
        hasAnswered = true
        wire.send(bytes)
        end(reply.fate)
    }
}
