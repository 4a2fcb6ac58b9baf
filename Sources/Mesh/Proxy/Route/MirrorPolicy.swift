import HTTP
import XDS

/// Where a copy of each request goes too, whose answer nobody waits for (`RouteAction.RequestMirrorPolicy`).
struct MirrorPolicy: Sendable {
    var choice: ForwardAction.Choice
    var fraction: RuntimeFraction
    /// Else `-shadow` is appended to the host.
    var keepsHost: Bool
    var host: [UInt8]
    var headers: HeaderMutations
    /// The copy's span is told to the collector where the request's is.
    var samplesTrace: Bool
}

extension MirrorPolicy {
    init(_ node: ConfigNode, _ context: RouteContext) throws(ConfigError) {
        let (name, header) = (node.string("cluster"), node.string("cluster_header"))
        guard name.isEmpty != header.isEmpty else { throw node.error("needs either a cluster or a cluster_header") }
        choice = name.isEmpty ? .header(HeaderKey(header)) : .cluster(try context.cluster(name, node, "cluster"))
        fraction = try node.message("runtime_fraction", RuntimeFraction.init(_:)) ?? .always
        keepsHost = node.bool("disable_shadow_host_suffix_append")
        host = Array(node.string("host_rewrite_literal").utf8)
        samplesTrace = node.bool("trace_sampled", default: true)
        headers = try HeaderMutations(mutations: node.messages("request_headers_mutations"))
    }
}
