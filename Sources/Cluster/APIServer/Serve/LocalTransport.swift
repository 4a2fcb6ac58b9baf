import ClusterAPI
public import ClusterClient
public import JSON
import Store

/// The API server for controllers in its own process: the same calls and rules, without bytes between.
///
/// Objects of watches are parsed once and shared by all who look at them in this process.
public struct LocalTransport: APITransport {
    let service: APIService
    let documents: ServerDocuments
    let user: UserInfo

    public func send(_ request: APIRequest) async throws -> JSONValue {
        let call = try call(request)
        let answer = try await service.perform(call)
        switch answer.content {
        case .object(let object): return StorageConversion.fromStorage(try object.json(), to: call.resource)
        case .json(let json): return json
        case .list(let list):
            var items: [JSONValue] = []
            items.reserveCapacity(list.items.count)
            for item in list.items { items.append(StorageConversion.fromStorage(try item.json(), to: call.resource)) }
            var metadata: JSONValue = ["resourceVersion": .string(String(list.revision))]
            if !list.continueToken.isEmpty { metadata["continue"] = .string(list.continueToken) }
            return [
                "kind": .string(call.resource.listKind.kind), "apiVersion": .string(call.resource.gvk.apiVersion),
                "metadata": metadata, "items": .array(items),
            ]
        case .watch, .stream:
            throw StatusError.badRequest("\(request.path) answers with a stream")
        }
    }

    public func document(_ path: String) async throws -> JSONValue {
        try await documents.json(at: path)
    }

    public func watch(_ request: APIRequest) async throws -> any WatchStream {
        var call = try call(request)
        call.verb = .watch
        var options = try ListOptions(
            Parameters(request.parameters.filter { $0.name != "watch" } + [(name: "watch", value: "1")]))
        options.isWatch = true
        return LocalWatch(try await service.registry.watch(call, options), service.registry.schema)
    }

    private func call(_ request: APIRequest) throws(StatusError) -> APICall {
        guard let resource = service.registry.schema.resource(request.resource) else { throw .pathNotFound() }
        var call = APICall(user: user, verb: .get, resource: resource)
        switch request.verb {
        case .get: call.verb = .get
        case .list: call.verb = .list
        case .create: call.verb = .create
        case .update: call.verb = .update
        case .delete: call.verb = .delete
        case .deleteCollection: call.verb = .deletecollection
        case .patch(let type):
            call.verb = .patch
            call.patchType = PatchType(rawValue: type.rawValue)
        }
        call.namespace = request.namespace ?? ""
        call.name = request.name ?? ""
        call.subresource = request.subresource ?? ""
        call.parameters = Parameters(request.parameters)
        call.body = request.body.map { DecodedBody(json: $0) }
        call.userAgent = user.name
        return call
    }
}

/// A watch without bytes between.
private final class LocalWatch: WatchStream {
    private let session: WatchSession
    private let schema: Schema
    private let pending = PendingEvents()

    init(_ session: WatchSession, _ schema: Schema) {
        self.session = session
        self.schema = schema
    }

    deinit { session.end() }

    func next() async throws -> WatchEvent? {
        while true {
            if let event = pending.take() { return event }
            guard let step = await session.next() else { return nil }
            pending.refill(try events(step))
        }
    }

    private func events(_ step: WatchSession.Step) throws(StatusError) -> [WatchEvent] {
        switch step {
        case .changes(let changes):
            return changes.compactMap { kind, record in
                let json = kind == .deleted ? record.previousJSON() : record.currentJSON()
                return json.map { WatchEvent(kind: Self.kind(kind), object: object($0)) }
            }
        case .initial(let objects):
            var events: [WatchEvent] = []
            for stored in objects { events.append(WatchEvent(kind: .added, object: object(try stored.json()))) }
            return events
        case .bookmark(let revision, let endsInitial):
            var json: JSONValue = [
                "kind": .string(session.resource.gvk.kind), "apiVersion": .string(session.resource.gvk.apiVersion),
                "metadata": ["resourceVersion": .string(revision.description)],
            ]
            if endsInitial {
                json["metadata"]?["annotations"] = [WatchEvent.initialEventsEndAnnotation: "true"]
            }
            return [WatchEvent(kind: .bookmark, object: KubeObject(json: json))]
        case .error(let error): return [WatchEvent(kind: .error, object: KubeObject(json: error.json))]
        }
    }

    private func object(_ json: JSONValue) -> KubeObject {
        KubeObject(json: StorageConversion.fromStorage(json, to: session.resource))
    }

    private static func kind(_ kind: WatchKind) -> WatchEvent.Kind {
        switch kind {
        case .added: .added
        case .modified: .modified
        case .deleted: .deleted
        }
    }
}

/// Events of a step that were not yet asked for.
///
/// @unchecked: used by the one task that reads the watch.
private final class PendingEvents: @unchecked Sendable {
    private var events: ArraySlice<WatchEvent> = []
    func take() -> WatchEvent? { events.popFirst() }
    func refill(_ new: [WatchEvent]) { events = new[...] }
}
