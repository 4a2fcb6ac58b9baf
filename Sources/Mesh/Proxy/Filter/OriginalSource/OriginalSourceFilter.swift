import XDS

/// Lets a request's connection to its host come from the client's address, as `x-forwarded-for` is trusted to tell it
/// (`envoy.filters.http.original_src`).
package struct OriginalSourceFilter: Sendable {
    private let mark: UInt32

    func requestHead(_ stream: HTTPStream) -> FilterStep {
        stream.upstreamSource = OriginalSource(of: stream.remote, mark: mark)
        return .proceed
    }

    init(_ node: ConfigNode) { mark = node.uint32("mark") }
}
