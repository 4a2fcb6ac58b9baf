import Bytes
import GRPC
import HTTP
import Reactor
import TLS

/// A gRPC stream of the proxy itself with messages both ways, for as long as both sides want, on an HTTP/2 connection of its own
/// to a host of a cluster.
///
/// Messages are handed over one at a time: the next when `next` asks for it, and until then the server's window stays closed.
/// On one worker's loop.
final class GRPCStream: ConnectionTerminal, HTTP2SessionDelegate {
    /// What it is opened with.
    struct Target: Sendable {
        var cluster: ClusterID
        var authority: String
        var path: String
        var metadata: [(name: String, value: String)]
        /// Bytes of a message that comes, at most.
        var messageLimit: Int
    }

    enum Event: Sendable {
        /// Connected: messages can be sent.
        case opened
        case message([UInt8])
        /// Once, last, unless it was cancelled.
        case ended(GRPCEnding)
    }

    private let target: Target
    private let cluster: ClusterState
    private let host: Host
    private var tell: ((Event) -> Void)?
    private var session: HTTP2Session?
    private var stream: HTTP2Stream?
    private var messages: GRPCMessages
    /// Somebody waits for the next message.
    private var isAsked = true
    private var unconsumed = 0
    private var status: Int?
    private var ending: GRPCEnding?
    private var isOpen = false

    /// Starts to connect. Events come later, never within this call.
    /// - Throws: Why there is nobody to connect to, or nothing to connect with.
    static func open(
        _ worker: ProxyWorker, _ target: Target, _ tell: @escaping (Event) -> Void
    ) throws(GRPCEnding) -> GRPCStream {
        guard let cluster = worker.cluster(target.cluster) else {
            throw GRPCEnding(.unavailable, "cluster \(target.cluster.name) is not there, or not warm")
        }
        let nobody = ConnectionOrigin(remote: .unix(path: ""), local: .unix(path: ""))
        guard let (owner, host) = cluster.choose(PickRequest(), nil, nobody) else {
            cluster.stats.noneHealthy &+= 1
            throw GRPCEnding(.unavailable, "no healthy upstream")
        }
        guard owner.breakers.take(.connections) else {
            owner.stats.connectionOverflows &+= 1
            throw GRPCEnding(.unavailable, "the cluster has as many connections as its circuit breakers allow")
        }
        do {
            return try connect(worker, target, owner, host, tell)
        } catch {
            owner.breakers.release(.connections)
            throw GRPCEnding(.unavailable, "\(error)")
        }
    }

    private static func connect(
        _ worker: ProxyWorker, _ target: Target, _ cluster: ClusterState, _ host: Host,
        _ tell: @escaping (Event) -> Void
    ) throws -> GRPCStream {
        let tls = try cluster.settings.transport(to: host).security.map { security throws(TLSError) in
            try security.session(for: host)
        }
        let connection = ProxyConnection(worker, ConnectionOrigin(remote: host.address, local: .unix(path: "")), tls)
        let stream = GRPCStream(connection, target, cluster, host, tell)
        connection.terminal = stream
        connection.totals = cluster.stats.byteTotals
        try cluster.connect(connection, to: host.address)
        cluster.stats.connections &+= 1
        cluster.began(host.id)
        return stream
    }

    private init(
        _ connection: ProxyConnection, _ target: Target, _ cluster: ClusterState, _ host: Host,
        _ tell: @escaping (Event) -> Void
    ) {
        self.target = target
        self.cluster = cluster
        self.host = host
        self.tell = tell
        messages = GRPCMessages(limit: target.messageLimit)
        super.init(connection)
    }

    // MARK: For its owner

    /// Not too much waits for the server already.
    var takesMore: Bool { stream?.isAboveHighWater == false && connection.isWritable }

    func send(_ message: [UInt8]) {
        guard let session, let stream else { return }
        GRPCMessages.framed(message).withUnsafeBytes { session.write($0, to: stream) }
        worker.flushAtTurnEnd(self)
    }

    /// The next message may come.
    func next() {
        isAsked = true
        deliver()
        worker.flush()
    }

    /// Nothing of it is of interest any more.
    func cancel() {
        tell = nil
        if let session, let stream {
            session.reset(stream, code: .cancel)
            flush()
        }
        connection.closeAfterWrite()
        worker.flush()
    }

    // MARK: The connection

    override func opened() {
        isOpen = true
        cluster.stats.activeConnections &+= 1
        cluster.stats.http2Connections &+= 1
        cluster.stats.connectTime.record((worker.now &- connection.began) / 1_000_000)
        cluster.record(.connected, of: host.id)
        do throws(HTTPError) {
            let session = try HTTP2Session(
                .client, limits: cluster.settings.options.http2,
                scratchHead: { [unowned worker] in worker.head(capacity: HTTPLimits.standard.headerCount) },
                delegate: self)
            self.session = session
            addHead()
            stream = try session.open(worker.fields, finished: false)
        } catch { return end(GRPCEnding(.unavailable, "\(error)")) }
        cluster.stats.requests &+= 1
        cluster.stats.activeRequests &+= 1
        worker.flushAtTurnEnd(self)
        tell?(.opened)
    }

    private func addHead() {
        worker.fields.clear()
        worker.fields.add(":method", "POST" as StaticString)
        worker.fields.add(":scheme", connection.isSecure ? "https" as StaticString : "http")
        add(":path", target.path)
        add(":authority", target.authority)
        worker.fields.add("te", "trailers" as StaticString)
        worker.fields.add("content-type", "application/grpc" as StaticString)
        for (name, value) in target.metadata { add(name, value) }
    }

    private func add(_ name: String, _ value: String) {
        var (name, value) = (name, value)
        name.withUTF8 { name in
            value.withUTF8 { worker.fields.add(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer($0)) }
        }
    }

    override func received(_ bytes: UnsafeRawBufferPointer) {
        guard let session else { return }
        do throws(HTTPError) {
            try session.receive(bytes, now: Int64(worker.now / 1_000_000_000))
            worker.flushAtTurnEnd(self)
        } catch {
            cluster.stats.protocolErrors &+= 1
            end(GRPCEnding(.internalError, "\(error)"))
        }
    }

    override func ended() { connection.abort() }
    override func drained() { worker.flushAtTurnEnd(self) }

    override func flush() {
        guard let session, !connection.isClosed, connection.isWritable else { return }
        do throws(HTTPError) { try session.sendOutput(on: connection) } catch { connection.abort() }
    }

    override func closed(_ error: (any Error)?) {
        cluster.breakers.release(.connections)
        cluster.ended(host.id)
        cluster.stats.closedConnections &+= 1
        if isOpen {
            cluster.stats.activeConnections &-= 1
            if stream != nil { cluster.stats.activeRequests &-= 1 }
        } else {
            cluster.connectFailed(to: host.id, error)
        }
        session = nil
        stream = nil
        let what = isOpen ? "the connection to" : "cannot connect to"
        let reason = error.map { ": \($0)" } ?? ""
        let isClosed = isOpen && reason.isEmpty ? " was closed" : reason
        finish(ending ?? GRPCEnding(.unavailable, "\(what) \(host.address)\(isClosed)"))
    }

    /// Ends it from this side.
    private func end(_ ending: GRPCEnding) {
        if self.ending == nil { self.ending = ending }
        if let session, let stream {
            session.reset(stream, code: .cancel)
            flush()
        }
        connection.abort()
    }

    private func finish(_ ending: GRPCEnding) {
        guard let tell else { return }
        self.tell = nil
        tell(.ended(ending))
    }

    // MARK: The stream

    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
        guard head.status >= 200 else { return }
        status = head.status
        if head.value(.grpcStatus) != nil || endsStream { took(head.copyHeaders()) }
    }

    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
        unconsumed += data.count
        // What stands in the body of an answer that is none of gRPC's is nobody's.
        guard status == 200 else { return consume() }
        messages.append(data)
        deliver()
    }

    /// The server has said all that it will; with our side ended too the stream is over.
    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) {
        took(trailers)
        session?.finish(stream)
    }

    func http2(drained stream: HTTP2Stream) {}

    func http2(closed stream: HTTP2Stream, code: UInt32) {
        if ending == nil {
            ending =
                code == 0
                ? GRPCEnding(.unavailable, "the stream ended without a status")
                : GRPCEnding(.unavailable, "the stream was reset with code \(code)")
        }
        connection.closeAfterWrite()
    }

    func http2(goAway last: Int32, code: UInt32) {
        // The stream may go on; it is ours that is open, and no other is wanted of this connection.
    }

    private func took(_ fields: HTTPHeaders) {
        guard ending == nil else { return }
        if let code = fields[.grpcStatus].flatMap({ Int($0) }) {
            ending = GRPCEnding(code: code, GRPCEnding.text(ofField: (fields[.grpcMessage] ?? "").utf8))
        } else if let status, status != 200 {
            ending = GRPCEnding(code: GRPCStatus.code(for: status), "the server answered with status \(status)")
        } else {
            ending = GRPCEnding(.unknown, "the stream ended without a status")
        }
    }

    private func deliver() {
        guard isAsked, let tell else { return }
        do throws(GRPCEnding) {
            if let message = try messages.next() {
                isAsked = false
                if messages.waiting == 0 { consume() }
                tell(.message(message))
            } else {
                // More is wanted of a message of which the beginning is here.
                consume()
            }
        } catch { end(error) }
    }

    private func consume() {
        guard unconsumed > 0 else { return }
        if let session, let stream { session.consumed(unconsumed, of: stream) }
        unconsumed = 0
        worker.flushAtTurnEnd(self)
    }
}
