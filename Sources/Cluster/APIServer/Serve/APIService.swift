import ClusterAPI
import JSON

/// Sends a call, however it came, to what answers it. Who asks is known, and that they may.
struct APIService: Sendable {
    let registry: Registry
    let reviews: Reviews
    let tokens: ServiceAccountTokens
    let agents: NodeAgents

    func perform(_ call: APICall) async throws(StatusError) -> APIAnswer {
        if call.subresource.isEmpty || call.subresource == "status" { return try await generic(call) }
        switch (call.subresource, call.verb) {
        case ("scale", .get): return try await registry.getScale(call)
        case ("scale", .update), ("scale", .patch): return try await registry.updateScale(call)
        case ("binding", .create): return try await registry.bind(call)
        case ("eviction", .create): return try await registry.evict(call)
        case ("token", .create):
            return APIAnswer(code: 201, content: .json(try await tokens.issue(call, in: registry)))
        case ("log", .get): return try await agents.log(call, in: registry)
        case ("finalize", .update), ("approval", .update), ("ephemeralcontainers", .update):
            return try await registry.update(call)
        case ("approval", .patch), ("ephemeralcontainers", .patch): return try await registry.patch(call)
        case ("approval", .get), ("ephemeralcontainers", .get): return try await registry.get(call)
        default:
            let way =
                Self.streams.contains(call.subresource)
                ? "; on pod \(call.name)'s node, crun --root RUN/crun exec CONTAINER-ID COMMAND runs something in a container"
                : ""
            throw StatusError(
                code: 501, reason: StatusError.Reason(rawValue: "NotImplemented"),
                message: "\(call.resource.gvr.resource)/\(call.subresource) is not served by this version\(way)")
        }
    }

    /// Subresources that would take a connection over.
    static let streams: Set<String> = ["attach", "exec", "portforward"]

    private func generic(_ call: APICall) async throws(StatusError) -> APIAnswer {
        switch call.verb {
        case .get: return try await registry.get(call)
        case .list:
            return APIAnswer(content: .list(try await registry.list(call, try ListOptions(call.parameters))))
        case .watch:
            var options = try ListOptions(call.parameters)
            if !options.isWatch {
                // The deprecated path prefix says it without the parameter.
                options.isWatch = true
            }
            return APIAnswer(content: .watch(try await registry.watch(call, options)))
        case .create:
            if call.resource.gvr == .bindings { return try await registry.bind(call) }
            if let review = try await reviews.answer(call, in: registry) {
                return APIAnswer(code: 201, content: .json(review))
            }
            return try await registry.create(call)
        case .update: return try await registry.update(call)
        case .patch: return try await registry.patch(call)
        case .delete: return try await registry.delete(call)
        case .deletecollection: return try await registry.deleteCollection(call)
        }
    }
}
