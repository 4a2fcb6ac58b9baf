import HTTP
import XDS

/// `envoy.filters.http.grpc_stats`: counts calls and messages, as counters of the cluster.
package final class GRPCStatsFilter: Sendable {
    enum Methods: Sendable {
        /// All calls are counted together.
        case none
        case all
        /// Others are counted together.
        case listed(Set<GRPCMethod>)
    }

    let methods: Methods
    let emitsState: Bool
    let replacesDots: Bool

    static let stateName = "envoy.filters.http.grpc_stats"

    init(_ methods: Methods, emitsState: Bool, replacesDots: Bool) {
        self.methods = methods
        self.emitsState = emitsState
        self.replacesDots = replacesDots
    }

    final class State {
        /// `grpc.SERVICE.METHOD.`, or `grpc.`
        let scope: String
        var requests = GRPCFrames()
        var responses = GRPCFrames()
        init(_ scope: String) { self.scope = scope }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard stream.isGRPC, let scope = scope(stream.request) else { return .proceed }
        stream.filterState[slot] = State(scope)
        return .proceed
    }

    private func scope(_ request: HeaderBlock) -> String? {
        switch methods {
        case .none: return "grpc."
        case .all: return GRPCMethod(request.path).map(named)
        case .listed(let known):
            guard let method = GRPCMethod(request.path), known.contains(method) else { return "grpc." }
            return named(method)
        }
    }

    private func named(_ method: GRPCMethod) -> String {
        let service = replacesDots ? String(method.service.map { $0 == "." ? "_" : $0 }) : method.service
        return "grpc.\(service).\(method.name)."
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: BodyPiece) -> Bool {
        guard let state = state(stream, slot) else { return true }
        let more = state.requests.take(piece.bytes)
        stream.countForCluster(state.scope + "request_message_count", more)
        if more > 0 { emit(state, stream) }
        return true
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int, end: Bool) {
        guard let state = state(stream, slot), end else { return }
        charge(stream.response, state, stream)
    }

    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: BodyPiece) -> Bool {
        guard let state = state(stream, slot) else { return true }
        let more = state.responses.take(piece.bytes)
        stream.countForCluster(state.scope + "response_message_count", more)
        if more > 0 { emit(state, stream) }
        return true
    }

    func responseTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) {
        guard let state = state(stream, slot) else { return }
        charge(trailers, state, stream)
    }

    private func state(_ stream: HTTPStream, _ slot: Int) -> State? { stream.filterState[slot] as? State }

    private func charge(_ block: HeaderBlock, _ state: State, _ stream: HTTPStream) {
        guard let status = block.value(.grpcStatus) else { return }
        stream.countGRPC(status, state.scope)
    }

    private func emit(_ state: State, _ stream: HTTPStream) {
        guard emitsState else { return }
        stream.ownMetadata.state[Self.stateName] = Array("\(state.requests.count),\(state.responses.count)".utf8)
    }
}

extension HTTPStream {
    /// Counts a call that has ended with this status.
    func countGRPC(_ status: UnsafeRawBufferPointer, _ scope: String) {
        let text = String(decoding: status, as: UTF8.self)
        countForCluster(scope + text)
        countForCluster(scope + (text == "0" ? "success" : "failure"))
        countForCluster(scope + "total")
    }
}

extension GRPCStatsFilter {
    /// An `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        let methods: Methods
        switch node.choice("per_method_stat_specifier") {
        case "individual_method_stats_allowlist":
            var known: Set<GRPCMethod> = []
            for service in node.message("individual_method_stats_allowlist")?.messages("services") ?? [] {
                let name = service.string("name")
                for method in service.strings("method_names") { known.insert(GRPCMethod(service: name, name: method)) }
            }
            methods = .listed(known)
        case "stats_for_all_methods": methods = node.bool("stats_for_all_methods", default: false) ? .all : .none
        default: methods = .none
        }
        self.init(
            methods, emitsState: node.bool("emit_filter_state"),
            replacesDots: node.bool("replace_dots_in_grpc_service_name"))
    }
}
