import Bytes
import TLS

/// The opening handshake of a WebSocket (RFC 6455 §4), on the server's side and the client's.
public enum WebSocketHandshake {
    private static let salt = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// Whether the request asks for a WebSocket.
    public static func isAsked(_ request: HTTPRequest) -> Bool {
        request.headers.contains(token: "websocket", in: .upgrade)
            && request.headers.contains(token: "upgrade", in: .connection)
    }

    /// The headers of the `101` answer. Of `protocols` the first that the client offers is chosen.
    ///
    /// - Throws: `HTTPError` (`.malformed`) if the request is not a proper handshake or offers none of `protocols`; the
    ///   message is fit for the client.
    public static func accept(_ request: HTTPRequest, protocols: [String]) throws -> HTTPHeaders {
        guard isAsked(request), request.method == "GET" else {
            throw HTTPError(.malformed, "not a WebSocket handshake")
        }
        guard request.headers[.secWebSocketVersion] == "13" else {
            throw HTTPError(.malformed, "only version 13 of WebSocket is spoken here")
        }
        guard let key = request.headers[.secWebSocketKey], Base64.decode(key)?.count == 16 else {
            throw HTTPError(.malformed, "Sec-WebSocket-Key must be 16 bytes in base64")
        }
        var headers: HTTPHeaders = [
            "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-accept": answer(to: key),
        ]
        let chosen = protocols.first { request.headers.contains(token: $0, in: .secWebSocketProtocol) }
        if let chosen {
            headers.add(.secWebSocketProtocol, chosen)
        } else if !protocols.isEmpty {
            throw HTTPError(
                .malformed, "none of the offered subprotocols is spoken here: \(protocols.joined(separator: ", "))")
        }
        return headers
    }

    /// A client's request headers, with the answer that the server must give in `Sec-WebSocket-Accept`.
    public static func ask(protocols: [String]) -> (headers: HTTPHeaders, expected: String) {
        let key = Base64.encode(SecureRandom.bytes(16))
        var headers: HTTPHeaders = ["sec-websocket-version": "13", "sec-websocket-key": key]
        if !protocols.isEmpty { headers.add(.secWebSocketProtocol, protocols.joined(separator: ", ")) }
        return (headers, answer(to: key))
    }

    static func answer(to key: String) -> String { Base64.encode(Digest.sha1((key + salt).utf8)) }
}
