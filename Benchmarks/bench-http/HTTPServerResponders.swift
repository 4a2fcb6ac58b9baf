import Bytes
import HTTP
import Reactor

/// The rows of the table that stand on `HTTPServer`: the same trivial answer through each of its faces.
enum HTTPServerResponder: String, CaseIterable, Sendable {
    /// Events on the loop, no task, no copy of the request.
    case hot
    /// One async call a request.
    case cool

    /// What nginx's `return 200 "hello, world\n"` answers.
    static let body = Array("hello, world\n".utf8)
    static let headers: HTTPHeaders = ["content-type": "text/plain"]

    /// Serves on every loop of the group until it is drained.
    func start(_ group: EventLoopGroup, _ address: SocketAddress) async throws -> HTTPServer {
        let server =
            switch self {
            case .hot: HTTPServer(group: group, address: address) { _ in HotResponder() }
            case .cool:
                HTTPServer(
                    group: group, address: address,
                    handler: HTTPClosureHandler { _, response in
                        await response.send(status: 200, headers: Self.headers, body: Self.body)
                    })
            }
        _ = try await server.start()
        return server
    }
}

private final class HotResponder: HTTPService {
    private let headers = HTTPServerResponder.headers
    private let body = HTTPServerResponder.body

    func head(_ head: MessageHead, of exchange: HTTPExchange) {}
    func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {}
    func end(_ exchange: HTTPExchange, trailers: HTTPHeaders) { exchange.respond(200, headers, body: body) }
    func drained(_ exchange: HTTPExchange) {}
    func closed(_ exchange: HTTPExchange) {}
    func peerStoppedSending(_ exchange: HTTPExchange) {}
}
