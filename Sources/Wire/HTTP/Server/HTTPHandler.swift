import Bytes
import Reactor
import TLS

/// The cool face of the server: one call for each request, with its body complete.
///
/// `handle` runs as a task of its own on the connection's loop, so it must not block. If it returns without having answered,
/// the client gets a 500.
public protocol HTTPHandler: Sendable {
    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async
}

/// A handler that is one closure.
public struct HTTPClosureHandler: HTTPHandler {
    private let body: @Sendable (HTTPRequest, HTTPResponseWriter) async -> Void
    public init(_ body: @escaping @Sendable (HTTPRequest, HTTPResponseWriter) async -> Void) { self.body = body }
    public func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async { await body(request, response) }
}

/// Turns the events of the hot face into calls of a handler: collects bodies, starts a task for each request.
final class HandlerService: HTTPService {
    private let handler: any HTTPHandler
    private let loop: EventLoop
    private let maximumBody: Int
    /// Bodies refused for their size, for the counters.
    private(set) var oversizedBodies = 0

    init(_ handler: any HTTPHandler, loop: EventLoop, limits: HTTPLimits) {
        self.handler = handler
        self.loop = loop
        maximumBody = limits.bodyBytes
    }

    /// What is known of a request until it is complete, and the writer that answers it after.
    private final class Pending {
        var request: HTTPRequest
        var writer: HTTPResponseWriter?
        init(_ request: HTTPRequest) { self.request = request }
    }

    func head(_ head: MessageHead, of exchange: HTTPExchange) {
        guard let peer = exchange.peer else { return }
        if case .length(let length) = head.framing, length > UInt64(maximumBody) { return refuseBody(exchange) }
        let pending = Pending(
            HTTPRequest(
                method: String(decoding: head.methodText, as: UTF8.self),
                target: String(decoding: head.target, as: UTF8.self), scheme: exchange.isSecure ? "https" : "http",
                authority: String(decoding: head.authority, as: UTF8.self), version: head.version,
                headers: head.copyHeaders(), peer: peer, tls: exchange.tls))
        if case .length(let length) = head.framing { pending.request.body.reserveCapacity(Int(min(length, 64 << 10))) }
        exchange.context = pending
    }

    func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {
        guard let pending = exchange.context as? Pending else { return }
        if let writer = pending.writer { return writer.received(bytes) }
        guard pending.request.body.count + bytes.count <= maximumBody else { return refuseBody(exchange) }
        pending.request.body.append(contentsOf: bytes)
    }

    func end(_ exchange: HTTPExchange, trailers: HTTPHeaders) {
        guard let pending = exchange.context as? Pending else { return }
        if let writer = pending.writer { return writer.receivedEnd() }
        pending.request.trailers = trailers
        let writer = HTTPResponseWriter(exchange, loop: loop)
        pending.writer = writer
        let request = pending.request
        pending.request.body = []
        let handler = handler
        loop.task {
            await handler.handle(request, writer)
            writer.handlerReturned()
        }
    }

    func drained(_ exchange: HTTPExchange) { (exchange.context as? Pending)?.writer?.drained() }

    func closed(_ exchange: HTTPExchange) {
        let pending = exchange.context as? Pending
        exchange.context = nil
        pending?.writer?.closed()
    }

    func peerStoppedSending(_ exchange: HTTPExchange) {
        (exchange.context as? Pending)?.writer?.peerStoppedSending()
    }

    private func refuseBody(_ exchange: HTTPExchange) {
        oversizedBodies += 1
        exchange.context = nil
        exchange.respond(
            413, ["content-type": "text/plain; charset=utf-8"],
            body: Array("the body is longer than \(maximumBody) bytes\n".utf8))
    }
}
