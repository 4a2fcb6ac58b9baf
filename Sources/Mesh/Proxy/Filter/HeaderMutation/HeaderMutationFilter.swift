import HTTP
import XDS

/// Changes header fields and trailers on the way in and out (`envoy.filters.http.header_mutation`).
package final class HeaderMutationFilter: Sendable {
    package struct Mutations: Sendable {
        var request: [HeaderMutation] = []
        var response: [HeaderMutation] = []
        var requestTrailers: [HeaderMutation] = []
        var responseTrailers: [HeaderMutation] = []
    }

    private let own: Mutations
    /// The table's changes come first and the route's last.
    private let appliesMostSpecificLast: Bool

    init(_ node: ConfigNode) throws(ConfigError) {
        own = try Mutations(in: node)
        appliesMostSpecificLast = node.bool("most_specific_header_mutations_wins")
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        apply(\.request, to: stream.request, stream, slot)
        return .proceed
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        apply(\.response, to: stream.response, stream, slot)
        return .proceed
    }

    func requestTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) {
        apply(\.requestTrailers, to: trailers, stream, slot)
    }

    func responseTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) {
        apply(\.responseTrailers, to: trailers, stream, slot)
    }

    private func apply(
        _ list: KeyPath<Mutations, [HeaderMutation]>, to block: HeaderBlock, _ stream: HTTPStream, _ slot: Int
    ) {
        for mutation in own[keyPath: list] { mutation.apply(to: block, stream) }
        var levels: [Mutations] = []
        stream.eachSettings(slot) {
            if case .headerMutation(let mutations) = $0 { levels.append(mutations) }
        }
        if appliesMostSpecificLast { levels.reverse() }
        for level in levels { for mutation in level[keyPath: list] { mutation.apply(to: block, stream) } }
    }
}

extension HeaderMutationFilter.Mutations {
    /// The `mutations` of the filter, or of a route.
    init(in node: ConfigNode) throws(ConfigError) {
        guard let mutations = node.message("mutations") else { return }
        func list(_ name: String) throws(ConfigError) -> [HeaderMutation] {
            try mutations.messages(name) { (node) throws(ConfigError) in try HeaderMutation(mutation: node) }
        }
        request = try list("request_mutations")
        response = try list("response_mutations")
        requestTrailers = try list("request_trailers_mutations")
        responseTrailers = try list("response_trailers_mutations")
        // What is left, `query_parameter_mutations`, is refused as nobody reads it.
    }
}
