import Bytes
import HTTP
import JSON

/// What matcher trees and policies look at: a connection, and on it perhaps a request. Lives for one evaluation.
struct MatchSubject {
    let origin: ConnectionOrigin
    /// nil before a request, and for connections that carry none.
    let stream: HTTPStream?
    /// nil where TLS is not used.
    let connection: ProxyConnection?

    init(_ stream: HTTPStream) {
        self.stream = stream
        connection = stream.connection
        origin = stream.connection?.origin ?? ConnectionOrigin(remote: .unix(path: ""), local: .unix(path: ""))
    }

    init(_ connection: ProxyConnection) {
        stream = nil
        self.connection = connection
        origin = connection.origin
    }

    /// The client; over HTTP as the connection manager trusts `x-forwarded-for`.
    var remote: SocketAddress { stream?.remote ?? origin.remote }
}
