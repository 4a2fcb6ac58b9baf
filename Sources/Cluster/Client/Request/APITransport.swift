public import ClusterAPI
public import JSON

/// How requests reach an API server: over HTTP, or by a call when the server lives in this process.
///
/// Every failure that the server decided is a `StatusError`; anything else thrown means that the server was not
/// reached or vanished, and the outcome of a write is unknown.
public protocol APITransport: Sendable {
    /// One request and its one answer: an object, a list, or a `Status` of success.
    func send(_ request: APIRequest) async throws -> JSONValue

    /// A document that is not a resource, by its path: `/apis`, `/version`.
    func document(_ path: String) async throws -> JSONValue

    /// Opens a watch. `request.verb` is `.list`; the transport adds `watch=1`.
    func watch(_ request: APIRequest) async throws -> any WatchStream
}

/// An open watch. Dropping it, or cancelling the task that reads it, ends it.
public protocol WatchStream: Sendable {
    /// The next event; nil when the server ended the watch in good order. Only one caller at a time.
    func next() async throws -> WatchEvent?
}

/// One frame of a watch.
public struct WatchEvent: Sendable {
    public enum Kind: String, Sendable {
        case added = "ADDED"
        case modified = "MODIFIED"
        case deleted = "DELETED"
        /// Carries only a resourceVersion (and, once, the mark that the initial events have ended).
        case bookmark = "BOOKMARK"
        /// The object is a `Status`.
        case error = "ERROR"
    }
    public var kind: Kind
    public var object: KubeObject

    public init(kind: Kind, object: KubeObject) {
        self.kind = kind
        self.object = object
    }

    /// Set on the bookmark that ends the initial events of a WatchList request (KEP-3157).
    public static let initialEventsEndAnnotation = "k8s.io/initial-events-end"

    public var endsInitialEvents: Bool {
        kind == .bookmark && object.annotation(Self.initialEventsEndAnnotation) == "true"
    }
}
