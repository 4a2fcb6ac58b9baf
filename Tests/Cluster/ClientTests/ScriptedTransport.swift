import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization

/// An API server that says what a test wrote down, and keeps what it was asked.
final class ScriptedTransport: APITransport {
    /// One watch that the server will serve: events, and then how it ends.
    struct Stream: Sendable {
        enum End: Sendable {
            case orderly
            case broken
            /// Stays open until the reader is cancelled.
            case open
        }
        var events: [WatchEvent]
        var end: End
    }

    enum Answer: Sendable {
        case stream(Stream)
        case refusal(StatusError)
    }

    struct State {
        var watches: [Answer]
        var lists: [JSONValue] = []
        var requests: [APIRequest] = []
    }

    let state: Mutex<State>

    init(watches: [Answer], lists: [JSONValue] = []) { state = Mutex(State(watches: watches, lists: lists)) }

    var requests: [APIRequest] { state.withLock { $0.requests } }

    func send(_ request: APIRequest) async throws -> JSONValue {
        try state.withLock { state in
            state.requests.append(request)
            guard !state.lists.isEmpty else { throw StatusError.internalError("the script has no more lists") }
            return state.lists.removeFirst()
        }
    }

    func document(_ path: String) async throws -> JSONValue { throw StatusError.pathNotFound() }

    func watch(_ request: APIRequest) async throws -> any WatchStream {
        let answer = state.withLock { state in
            state.requests.append(request)
            return state.watches.isEmpty ? .stream(Stream(events: [], end: .open)) : state.watches.removeFirst()
        }
        switch answer {
        case .stream(let stream): return ScriptedWatch(stream)
        case .refusal(let error): throw error
        }
    }
}

private final class ScriptedWatch: WatchStream {
    private let rest: Mutex<ArraySlice<WatchEvent>>
    private let end: ScriptedTransport.Stream.End

    init(_ stream: ScriptedTransport.Stream) {
        rest = Mutex(stream.events[...])
        end = stream.end
    }

    func next() async throws -> WatchEvent? {
        if let event = rest.withLock({ $0.popFirst() }) { return event }
        switch end {
        case .orderly: return nil
        case .broken: throw StatusError.serviceUnavailable("the connection broke")
        case .open:
            try await EventLoop.sleep(for: .seconds(3600))
            return nil
        }
    }
}

extension WatchEvent {
    static func pod(_ kind: Kind, _ name: String, version: Int, labels: [String: String] = [:]) -> WatchEvent {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "n", name: name)
        object.resourceVersion = String(version)
        object.labels = labels
        return WatchEvent(kind: kind, object: object)
    }

    static func bookmark(_ version: Int, endsInitial: Bool = false) -> WatchEvent {
        var object = KubeObject(apiVersion: "v1", kind: "Pod")
        object.resourceVersion = String(version)
        if endsInitial { object.annotations = [initialEventsEndAnnotation: "true"] }
        return WatchEvent(kind: .bookmark, object: object)
    }

    static func failure(_ error: StatusError) -> WatchEvent {
        WatchEvent(kind: .error, object: KubeObject(json: error.json))
    }
}
