import ClusterAPI
import HTTP
import JSON
import Reactor
import Synchronization

/// The API over HTTP: from the bytes of a request to those of its answer.
struct APIHandler: HTTPHandler {
    let service: APIService
    let authenticator: Authenticator
    let authorizer: any Authorizer
    let documents: ServerDocuments
    let metrics: RequestMetrics
    let watches: OpenWatches
    let proxy: ProxySubresource
    let paths: [ServedPath]

    /// Requests in progress at once; watches and logs do not count. Beyond: 429, and the client tries again.
    static let readLimit = 400
    static let writeLimit = 200
    /// Bytes of a request's body. Beyond: 413.
    static let bodyLimit = 3 << 20
    /// A collected watch page is written when it has so many bytes, so that a burst does not sit in memory whole.
    private static let flushBytes = 64 << 10

    /// Counted by name; whatever else clients invent is counted together.
    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        let started = ContinuousClock.now
        var label = RequestMetrics.Label(
            verb: Self.methods.contains(request.method) ? request.method : "OTHER", resource: "", code: 0)
        do throws(StatusError) {
            let user = try await asker(of: request)
            guard let segments = request.pathSegments else { throw StatusError.badRequest("the path is not valid") }
            if let path = RequestPath(segments: segments), !path.resource.isEmpty {
                label.code = try await serve(path, request, user, response, &label)
            } else {
                label.code = try await serveDocument(request, user, response)
            }
        } catch {
            label.code = error.code
            await refuse(error, request, response)
        }
        metrics.count(label, ContinuousClock.now - started)
    }

    /// Who asks, or in whose name he does.
    private func asker(of request: HTTPRequest) async throws(StatusError) -> UserInfo {
        let user = try await authenticator.authenticate(request, in: service.registry)
        guard let other = try Impersonation(request.headers) else { return user }
        for need in other.needs {
            if case .allowed = await authorizer.decide(user, need) { continue }
            let scope = need.namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(need.namespace)\""
            throw .forbidden(
                GroupVersionResource(group: need.group, version: need.version, resource: need.resource),
                name: need.name,
                "User \"\(user.name)\" cannot impersonate resource \"\(need.resource)\" in API group \"\(need.group)\" \(scope)"
            )
        }
        return other.user
    }

    // MARK: Resources

    private func serve(
        _ path: RequestPath, _ request: HTTPRequest, _ user: UserInfo, _ response: HTTPResponseWriter,
        _ label: inout RequestMetrics.Label
    ) async throws(StatusError) -> Int {
        var call = try route(path, request, user)
        label.verb = call.verb.rawValue.uppercased()
        label.resource = call.resource.gvr.resource
        try await authorize(user, call.attributes, call.resource)
        if call.subresource == "proxy" {
            let target = request.remainder(after: (request.pathSegments?.count ?? 0) - path.rest.count)
            return try await proxy.serve(call, target: target, request, response)
        }
        let encoding = try Negotiation.objects(
            request.headers[.accept], allowsShapes: call.resource.isStored && call.subresource.isEmpty,
            hasProtobuf: ProtobufCodec(schema: service.registry.schema).canEncode(call.resource.gvk),
            include: call.parameters.text("includeObject"))
        let isLong = call.verb == .watch || call.subresource == "log"
        let ticket = isLong ? nil : try metrics.admit(writes: call.verb.writes)
        defer { ticket?.leave() }
        try readBody(request, &call)
        let answer = try await service.perform(call)
        let encoder = ObjectEncoder(schema: service.registry.schema, resource: call.resource, encoding: encoding)
        return try await send(answer, encoder, response)
    }

    /// What the request is, if the resource exists and does that.
    private func route(
        _ path: RequestPath, _ request: HTTPRequest, _ user: UserInfo
    ) throws(StatusError) -> APICall {
        let gvr = GroupVersionResource(group: path.group, version: path.version, resource: path.resource)
        guard let resource = service.registry.schema.resource(gvr), path.rest.isEmpty || path.subresource == "proxy"
        else { throw .pathNotFound() }
        let parameters = Parameters(request.queryItems)
        guard let verb = try Self.verb(request.method, path, parameters) else { throw StatusError.methodNotAllowed() }
        if resource.namespaced {
            let spansAll = verb == .list || verb == .watch
            guard !path.namespace.isEmpty || (spansAll && path.name.isEmpty) else {
                throw .methodNotAllowed(resource.gvr, verb.rawValue)
            }
        } else if !path.namespace.isEmpty {
            throw .pathNotFound()
        }
        if path.subresource.isEmpty {
            guard resource.serves(verb.rawValue) else { throw .methodNotAllowed(resource.gvr, verb.rawValue) }
        } else {
            guard let subresource = resource.subresource(path.subresource) else { throw .pathNotFound() }
            guard subresource.verbs.contains(verb.rawValue) else {
                throw .methodNotAllowed(resource.gvr, verb.rawValue)
            }
        }
        var call = APICall(user: user, verb: verb, resource: resource)
        call.namespace = path.namespace
        call.name = path.name
        call.subresource = path.subresource
        call.parameters = parameters
        call.userAgent = request.headers[.userAgent] ?? ""
        return call
    }

    private static func verb(
        _ method: String, _ path: RequestPath, _ parameters: Parameters
    ) throws(StatusError) -> APICall.Verb? {
        let asksToWatch = try parameters.bool("watch") ?? false
        let watches = path.isWatchPrefix || asksToWatch
        switch method {
        case "GET", "HEAD":
            if watches, path.subresource.isEmpty { return .watch }
            return path.name.isEmpty ? .list : .get
        case "POST": return path.name.isEmpty || !path.subresource.isEmpty ? .create : nil
        case "PUT": return path.name.isEmpty ? nil : .update
        case "PATCH": return path.name.isEmpty ? nil : .patch
        case "DELETE": return path.name.isEmpty ? .deletecollection : .delete
        default: return nil
        }
    }

    private func authorize(
        _ user: UserInfo, _ attributes: AccessAttributes, _ resource: ResourceDescription?
    ) async throws(StatusError) {
        let decision = await authorizer.decide(user, attributes)
        if case .allowed = decision { return }
        var why: String
        if let resource {
            let full =
                attributes.subresource.isEmpty
                ? attributes.resource : "\(attributes.resource)/\(attributes.subresource)"
            why =
                "User \"\(user.name)\" cannot \(attributes.verb) resource \"\(full)\" in API group \"\(attributes.group)\""
            why +=
                attributes.namespace.isEmpty ? " at the cluster scope" : " in the namespace \"\(attributes.namespace)\""
            if case .denied(let reason) = decision { why += ": \(reason)" }
            if user.isAnonymous { throw .unauthorized() }
            throw .forbidden(resource.gvr, name: attributes.name, why)
        }
        throw StatusError(
            code: 403, reason: .forbidden,
            message: "forbidden: User \"\(user.name)\" cannot \(attributes.verb) path \"\(attributes.path)\"")
    }

    private func readBody(_ request: HTTPRequest, _ call: inout APICall) throws(StatusError) {
        // What begins a stream has no body that says anything.
        guard call.verb.writes, !APIService.streams.contains(call.subresource) else { return }
        guard request.body.count <= Self.bodyLimit else { throw .requestEntityTooLarge(limit: Self.bodyLimit) }
        let contentType = request.headers[.contentType]
        if call.verb == .patch {
            guard let type = PatchType(rawValue: mediaType(contentType)) else {
                throw .unsupportedMediaType(accepted: [
                    PatchType.json.rawValue, PatchType.merge.rawValue, PatchType.strategic.rawValue,
                ])
            }
            call.patchType = type
            _ = try service.registry.patchType(call)
            call.body = try DecodedBody(patch: request.body, type)
            return
        }
        // A delete may come without options.
        if request.body.isEmpty, call.verb == .delete || call.verb == .deletecollection { return }
        let kind =
            call.verb == .delete || call.verb == .deletecollection
            ? GroupVersionKind(kind: "DeleteOptions") : call.subresource.isEmpty ? call.resource.gvk : nil
        call.body = try DecodedBody(
            request.body, contentType: contentType, kind: kind, schema: service.registry.schema)
    }

    // MARK: Answers

    private func send(
        _ answer: APIAnswer, _ encoder: ObjectEncoder, _ response: HTTPResponseWriter
    ) async throws(StatusError) -> Int {
        var headers = HTTPHeaders()
        headers.add(.cacheControl, "no-cache, private")
        for warning in answer.warnings { headers.add(.warning, "299 - \(quoted(warning))") }
        let body: [UInt8]
        switch answer.content {
        case .object(let object): body = try encoder.object(object)
        case .json(let json): body = try encoder.value(json)
        case .list(let list): body = try encoder.list(list)
        case .watch(let session):
            await stream(session, encoder, headers, response)
            return 200
        case .stream(let stream):
            await pass(stream, headers, response)
            return 200
        }
        headers.add(.contentType, encoder.encoding.contentType)
        await response.send(status: answer.code, headers: headers, body: body)
        return answer.code
    }

    private func refuse(_ error: StatusError, _ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        var headers = HTTPHeaders()
        headers.add(.contentType, "application/json")
        headers.add(.cacheControl, "no-cache, private")
        if let seconds = error.retryAfter { headers.add(.retryAfter, String(seconds)) }
        if error.code == 401 { headers.add(.wwwAuthenticate, "Bearer realm=\"kubernetes\"") }
        await response.send(status: error.code, headers: headers, body: error.json.encoded())
    }

    /// RFC 7234 §5.5 wants the text of a warning as a quoted string.
    private func quoted(_ text: String) -> String {
        var out = "\""
        for character in text {
            if character == "\"" || character == "\\" { out.append("\\") }
            out.append(character)
        }
        return out + "\""
    }

    // MARK: Streams

    private func stream(
        _ session: WatchSession, _ encoder: ObjectEncoder, _ headers: HTTPHeaders, _ response: HTTPResponseWriter
    ) async {
        let registration = watches.add(session)
        defer { watches.remove(registration) }
        response.onClose { session.end() }
        var headers = headers
        headers.add(.contentType, encoder.encoding.streamContentType)
        var encoder = encoder
        let later = ObjectEncoder(
            schema: encoder.schema, resource: encoder.resource, encoding: encoder.encoding.withoutColumns)
        do {
            try await response.start(status: 200, headers: headers)
            var out: [UInt8] = []
            while let step = await session.next() {
                out.removeAll(keepingCapacity: out.capacity <= Self.flushBytes)
                switch step {
                case .changes(let changes):
                    for (kind, record) in changes {
                        encoder.writeFrame(kind, record, into: &out)
                        encoder = later
                        if out.count >= Self.flushBytes {
                            try await response.write(out)
                            out.removeAll(keepingCapacity: true)
                        }
                    }
                case .initial(let objects):
                    for object in objects {
                        try encoder.writeFrame(.added, object, into: &out)
                        encoder = later
                    }
                case .bookmark(let revision, let endsInitial):
                    out += encoder.bookmark(revision.rawValue, endsInitial: endsInitial)
                    encoder = later
                case .error(let error): out += encoder.error(error)
                }
                if !out.isEmpty { try await response.write(out) }
            }
        } catch {
            // The client is gone; it comes back with the revision that it has.
        }
        session.end()
        await response.finish()
    }

    private func pass(_ stream: ByteStream, _ headers: HTTPHeaders, _ response: HTTPResponseWriter) async {
        var headers = headers
        headers.add(.contentType, stream.contentType)
        do {
            try await response.start(status: 200, headers: headers)
            while !response.isClosed, let part = try await stream.next() { try await response.write(part) }
            await response.finish()
        } catch {
            await response.abort()
        }
    }

    // MARK: Documents

    private func serveDocument(
        _ request: HTTPRequest, _ user: UserInfo, _ response: HTTPResponseWriter
    ) async throws(StatusError) -> Int {
        var attributes = AccessAttributes(verb: request.method.lowercased())
        attributes.path = String(request.path)
        try await authorize(user, attributes, nil)
        if let path = paths.first(where: { $0.covers(request.path) }) {
            let answer = try await path.serve(request)
            var headers = HTTPHeaders()
            headers.add(.contentType, answer.contentType)
            headers.add(.cacheControl, "no-cache, private")
            await response.send(status: answer.status, headers: headers, body: answer.body)
            return answer.status
        }
        guard request.method == "GET" || request.method == "HEAD" else { throw .methodNotAllowed() }
        let document = try await documents.find(request)
        var headers = document.headers
        headers.add(.contentType, document.contentType)
        await response.send(status: document.status, headers: headers, body: document.body)
        return document.status
    }
}

/// Watches that are open, to be ended when the server goes.
final class OpenWatches: Sendable {
    private struct State {
        var sessions: [ObjectIdentifier: WatchSession] = [:]
        var isClosing = false
    }
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.sessions.count } }

    func add(_ session: WatchSession) -> ObjectIdentifier {
        let isClosing = state.withLock { state in
            state.sessions[ObjectIdentifier(session)] = session
            return state.isClosing
        }
        if isClosing { session.end() }
        return ObjectIdentifier(session)
    }

    func remove(_ identifier: ObjectIdentifier) { state.withLock { _ = $0.sessions.removeValue(forKey: identifier) } }

    func endAll() {
        let open = state.withLock { state in
            state.isClosing = true
            return Array(state.sessions.values)
        }
        for session in open { session.end() }
    }
}
