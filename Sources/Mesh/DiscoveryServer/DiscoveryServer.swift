import Bytes
public import GRPC
public import HTTP
public import Reactor
public import TLS
import XDS

/// Hands resources to proxies over gRPC, aggregated or by kind, in both forms of the protocol (`envoy.service.discovery.v3`).
///
/// A change is encoded once; the work that it makes is in proportion to it and to the streams that see it. Each stream is sent
/// what has changed since it last took something, so a slow proxy delays nobody and misses nothing. Belongs to one loop.
public final class DiscoveryServer {
    /// The longest that one change waits for another with a proxy: routes for the endpoints that they lead to, clusters to be
    /// taken away for the routes without them.
    public static let patience: Duration = .seconds(5)

    /// Says what a proxy sees; called for a stream's first request. Throws what ends the stream.
    public typealias Resolver = (_ node: ProxyNode, _ peer: TLSSession.Peer?) throws(GRPCEnding) -> ServedView

    let loop: EventLoop
    private let identifier: String
    private let resolve: Resolver
    /// Called when some proxy refuses something, or something else than before, or no longer does; `status()` says what.
    public var onRefusals: (() -> Void)?
    /// Of whom the service that tells of clients may tell to who asks; throws what he is refused with.
    public var seesClients: (TLSSession.Peer?) throws(GRPCEnding) -> (ProxyNode) -> Bool = { _ in { _ in true } }
    private let tables = NameTables()
    private(set) var streams: [ObjectIdentifier: DiscoveryStream] = [:]
    /// What is to be taken away once nobody's routes refer to it.
    private var retiring: [Retiree: ServedScope] = [:]
    /// Sessions that still see clusters of a scope from which they were moved.
    private var moved: [DiscoverySession] = []
    private var retirementTimer: TimerHandle?
    private var expectationTimer: TimerHandle?
    private var ready: [DiscoveryStream] = []

    private struct Retiree: Hashable {
        var scope: ObjectIdentifier
        var kind: ResourceKind
        var id: Int
    }

    /// - Parameter identifier: What responses call this control plane.
    public init(loop: EventLoop, identifier: String, resolve: @escaping Resolver) {
        self.loop = loop
        self.identifier = identifier
        self.resolve = resolve
    }

    /// The limits of an HTTP server for streams that rest for hours.
    public static var limits: HTTPLimits {
        var limits = HTTPLimits()
        limits.bodyTimeout = .seconds(100 * 365 * 86_400)
        limits.concurrentStreams = 64
        return limits
    }

    // MARK: Publishing

    /// Changes what a scope has. Who needs to hear of it does: adding before what refers to it, taking away after.
    public func publish(_ changes: [ServedChange], in scope: ServedScope) { publish([(changes, scope)]) }

    /// Changes several scopes at once, so that nobody hears of what refers to something of another scope before he hears of that.
    public func publish(_ batches: [(changes: [ServedChange], scope: ServedScope)]) {
        for (changes, scope) in batches { take(changes, in: scope) }
        retire()
        flush()
    }

    private func take(_ changes: [ServedChange], in scope: ServedScope) {
        for change in changes {
            let id = tables[change.kind].add(change.name)
            let retiree = Retiree(scope: ObjectIdentifier(scope), kind: change.kind, id: id)
            if let message = change.message {
                retiring[retiree] = nil
                apply(change.kind, id, tables[change.kind].resource(change.kind, id, message), in: scope)
                continue
            }
            tables[change.kind].forget(id)
            if change.kind == .cluster || change.kind == .clusterLoadAssignment {
                if scope.resource(change.kind, id) != nil { retiring[retiree] = scope }
            } else {
                apply(change.kind, id, nil, in: scope)
            }
        }
    }

    /// Shows proxies another scope in place of one that they saw: they are told of what differs, clusters that the new one lacks
    /// being taken away last.
    ///
    /// - Parameter isMoved: Which of those that see the old one.
    public func move(from old: ServedScope, to new: ServedScope, where isMoved: (ProxyNode) -> Bool) {
        guard old !== new else { return }
        for (id, session) in old.sessions {
            guard let node = session.node, isMoved(node) else { continue }
            session.replace(old, with: new)
            old.sessions[id] = nil
            new.sessions[id] = session
            moved.append(session)
            if let stream = streams[id] { mark(stream) }
        }
        retire()
        flush()
    }

    /// Whether all that see a scope have taken its listeners and routes.
    public func isSettled(_ scope: ServedScope) -> Bool { scope.sessions.values.allSatisfy(\.isSettled) }

    private func mark(_ stream: DiscoveryStream) {
        guard !stream.isReady else { return }
        stream.isReady = true
        ready.append(stream)
    }

    private func apply(_ kind: ResourceKind, _ id: Int, _ resource: ServedResource?, in scope: ServedScope) {
        guard scope.set(kind, id, resource) else { return }
        for session in scope.sessions.values {
            guard session.note(kind, id, in: scope) else { continue }
            if let stream = streams[ObjectIdentifier(session)] { mark(stream) }
        }
    }

    private func flush() {
        let streams = ready
        ready = []
        for stream in streams {
            stream.isReady = false
            pump(stream)
        }
    }

    /// Sends what there is to say, as far as the proxy takes it.
    private func pump(_ stream: DiscoveryStream) {
        stream.pump()
        guard stream.session.isExpecting, expectationTimer == nil else { return }
        expectationTimer = loop.schedule(after: Self.patience) { [weak self] in
            guard let self else { return }
            expectationTimer = nil
            for stream in Array(streams.values) where stream.session.isExpecting {
                stream.session.giveUpExpecting()
                pump(stream)
            }
        }
    }

    private var isRetiring: Bool { !retiring.isEmpty || !moved.isEmpty }

    /// Takes away what no proxy's listeners and routes can still refer to.
    private func retire(overdue: Bool = false) {
        guard isRetiring else { return }
        moved.removeAll { session in
            guard overdue || session.isSettled else { return false }
            session.forgetReplaced()
            if let stream = streams[ObjectIdentifier(session)] { mark(stream) }
            return true
        }
        var settled: [ObjectIdentifier: Bool] = [:]
        for (retiree, scope) in retiring {
            if !overdue {
                let known = settled[retiree.scope]
                let isSettled = known ?? scope.sessions.values.allSatisfy(\.isSettled)
                settled[retiree.scope] = isSettled
                guard isSettled else { continue }
            }
            retiring[retiree] = nil
            apply(retiree.kind, retiree.id, nil, in: scope)
        }
        if !isRetiring {
            if let timer = retirementTimer { loop.cancel(timer) }
            retirementTimer = nil
        } else if retirementTimer == nil {
            retirementTimer = loop.schedule(after: Self.patience) { [weak self] in
                guard let self else { return }
                retirementTimer = nil
                retire(overdue: true)
                flush()
            }
        }
    }

    // MARK: Streams

    fileprivate func receive(_ message: [UInt8], on stream: DiscoveryStream) throws(GRPCEnding) {
        let session = stream.session
        let isNew = session.node == nil
        let (exchange, resolve) = (stream.exchange, resolve)
        try session.receive(message) { node throws(GRPCEnding) in
            // Asked once in a stream's life.
            defer { exchange.forgetTLS() }
            return try resolve(node, exchange.tls)
        }
        if session.hasNewRefusals {
            session.hasNewRefusals = false
            onRefusals?()
        }
        if isNew { for scope in session.scopes { scope.sessions[ObjectIdentifier(session)] = session } }
        if isRetiring, session.isSettled {
            retire()
            flush()
        }
    }

    fileprivate func remove(_ stream: DiscoveryStream) {
        streams[ObjectIdentifier(stream.session)] = nil
        moved.removeAll { $0 === stream.session }
        if stream.session.isRefusing { onRefusals?() }
        for scope in stream.session.scopes { scope.sessions[ObjectIdentifier(stream.session)] = nil }
        retire()
        flush()
    }

    /// The methods that are served, by path.
    private static let methods: [String: (form: DiscoveryForm, only: ResourceKind?)] = {
        var methods: [String: (form: DiscoveryForm, only: ResourceKind?)] = [:]
        for form in [DiscoveryForm.stateOfTheWorld, .delta] {
            methods[form.aggregatedPath] = (form, nil)
            for kind in ResourceKind.allCases { if let path = form.path(kind) { methods[path] = (form, kind) } }
        }
        return methods
    }()
}

extension DiscoveryServer: HTTPService {
    public func head(_ head: MessageHead, of exchange: HTTPExchange) {
        let path = String(decoding: head.target, as: UTF8.self)
        let type = head.value(.contentType).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard head.method == .post, type == "application/grpc" || type.hasPrefix("application/grpc+proto") else {
            exchange.respond(415, ["accept-post": "application/grpc"])
            return
        }
        if path == ClientStatusCall.stream || path == ClientStatusCall.fetch {
            return begin(exchange, isFetch: path == ClientStatusCall.fetch)
        }
        guard let method = Self.methods[path] else {
            exchange.respond(200, Self.trailers(GRPCEnding(.unimplemented, "unknown method \(path)")))
            return
        }
        let session = DiscoverySession(method.form, only: method.only, tables: tables, identifier: identifier)
        let stream = DiscoveryStream(session, exchange)
        streams[ObjectIdentifier(session)] = stream
        exchange.context = stream
        exchange.start(200, ["content-type": "application/grpc"])
    }

    private func begin(_ exchange: HTTPExchange, isFetch: Bool) {
        do throws(GRPCEnding) {
            let sees = try seesClients(exchange.tls)
            exchange.context = ClientStatusCall(exchange, isFetch: isFetch, sees: sees)
            exchange.start(200, ["content-type": "application/grpc"])
        } catch { exchange.respond(200, Self.trailers(error)) }
    }

    private func answer(_ call: ClientStatusCall) throws(GRPCEnding) {
        while let message = try call.messages.next() {
            let sessions = streams.values.map(\.session)
            let answer = try ClientStatusCall.answer(ClientStatusRequest(message), sessions, sees: call.sees)
            GRPCMessages.framed(answer).withUnsafeBytes { _ = call.exchange.write($0) }
            if call.isFetch { return call.exchange.finish(trailers: ["grpc-status": "0"]) }
        }
    }

    public func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {
        if let call = exchange.context as? ClientStatusCall {
            call.messages.append(bytes)
            do throws(GRPCEnding) { try answer(call) } catch { exchange.finish(trailers: Self.trailers(error)) }
            return
        }
        guard let stream = exchange.context as? DiscoveryStream else { return }
        stream.messages.append(bytes)
        do throws(GRPCEnding) {
            while let message = try stream.messages.next() { try receive(message, on: stream) }
            pump(stream)
        } catch { exchange.finish(trailers: Self.trailers(error)) }
    }

    public func end(_ exchange: HTTPExchange, trailers: HTTPHeaders) {
        guard exchange.context is DiscoveryStream || (exchange.context as? ClientStatusCall)?.isFetch == false else {
            return
        }
        exchange.finish(trailers: ["grpc-status": "0"])
    }

    public func drained(_ exchange: HTTPExchange) { (exchange.context as? DiscoveryStream).map(pump) }

    public func closed(_ exchange: HTTPExchange) {
        let context = exchange.context
        exchange.context = nil
        (context as? DiscoveryStream).map(remove)
    }

    public func peerStoppedSending(_ exchange: HTTPExchange) {}

    private static func trailers(_ ending: GRPCEnding) -> HTTPHeaders {
        ["content-type": "application/grpc", "grpc-status": String(ending.code), "grpc-message": ending.fieldValue]
    }
}

/// A stream with what carries it.
final class DiscoveryStream {
    /// Bytes of a request; a hundred thousand names fit.
    static let requestLimit = 16 << 20

    let session: DiscoverySession
    let exchange: HTTPExchange
    var messages = GRPCMessages(limit: requestLimit)
    /// It is in the server's list of those that have something to send.
    var isReady = false
    let began = Timestamp.now()

    init(_ session: DiscoverySession, _ exchange: HTTPExchange) {
        self.session = session
        self.exchange = exchange
    }

    /// Sends what there is to say, as far as the proxy takes it.
    func pump() {
        while !exchange.isClosed, !exchange.mustWaitForDrain, let response = session.next() {
            GRPCMessages.framed(response).withUnsafeBytes { _ = exchange.write($0) }
        }
    }
}
