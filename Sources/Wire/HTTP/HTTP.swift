// HTTP/1.1 and HTTP/2: codecs without I/O, and the server and client that drive them on loops. Knows nothing
// of Kubernetes.
//
// Follow a request through the folders: Message (what it says) → HTTP1, HTTP2 (how it is written on the wire, no I/O) →
// Server and Client (connections on a loop, then the async face) → WebSocket (what an upgraded connection may speak).

import Bytes

/// Why an exchange could not be completed.
public struct HTTPError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: String, Hashable, Sendable {
        /// No connection: refused, unreachable, name unknown, TLS refused.
        case connect
        /// The peer is gone in the middle of something.
        case closed
        /// A time limit passed.
        case timeout
        /// The peer broke the protocol.
        case malformed
        /// A limit of `HTTPLimits` was passed; the message names it.
        case limit
        /// The caller asked for something that cannot be.
        case usage
        /// The server is going down, or the caller cancelled.
        case cancelled
    }

    public var kind: Kind
    public var message: String
    /// Nothing of the request can have been acted on, so that it may be sent again whatever its method.
    public var isRetrySafe: Bool

    public init(_ kind: Kind, _ message: String, isRetrySafe: Bool = false) {
        self.kind = kind
        self.message = message
        self.isRetrySafe = isRetrySafe
    }

    public var description: String { message }
}

public enum HTTPVersion: UInt8, Hashable, Sendable, CustomStringConvertible {
    case http10, http11, http2

    public var description: String {
        switch self {
        case .http10: "HTTP/1.0"
        case .http11: "HTTP/1.1"
        case .http2: "HTTP/2"
        }
    }
}
