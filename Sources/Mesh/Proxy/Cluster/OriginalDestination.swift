import Bytes
import XDS

/// How an ORIGINAL_DST cluster knows the host that a request or connection means: what the request says, where that is asked
/// for, else where the client went before it was redirected. Immutable.
struct OriginalDestination: Sendable {
    /// Where dynamic metadata holds `address:port`.
    var metadata: (filter: String, path: [String])?
    /// A request's field that holds `address:port`.
    var header: HeaderKey?
    /// Instead of the address's own.
    var port: Port?
    /// A host that nothing has used for so long is forgotten, in nanoseconds.
    var cleanupInterval: UInt64 = 5_000_000_000

    init() {}

    enum Answer {
        case address(SocketAddress)
        /// Nothing says where to go.
        case unknown
        /// What the request says is no address.
        case invalid
    }

    /// Where a request goes.
    func address(of stream: HTTPStream) -> Answer {
        var text: String?
        if let metadata { text = stream.metadata?.text(metadata.filter, metadata.path) }
        if text == nil, let header, let value = stream.request.value(header) {
            text = String(decoding: value, as: UTF8.self)
        }
        guard let text else { return address(of: stream.origin) }
        return IPEndpoint(text).map { .address(with(port, $0)) } ?? .invalid
    }

    /// Where a connection goes.
    func address(of origin: ConnectionOrigin?) -> Answer {
        guard let origin, origin.isRestored, let endpoint = origin.local.endpoint else { return .unknown }
        return .address(with(port, endpoint))
    }

    private func with(_ port: Port?, _ endpoint: IPEndpoint) -> SocketAddress {
        .ip(endpoint.address, port ?? endpoint.port, scope: endpoint.scope)
    }
}

extension OriginalDestination {
    /// A cluster of type ORIGINAL_DST with its `original_dst_lb_config`.
    static func read(cluster node: ConfigNode) throws(ConfigError) -> OriginalDestination {
        var result = OriginalDestination()
        if let config = node.message("original_dst_lb_config") { result = try OriginalDestination(config) }
        result.cleanupInterval = node.nanoseconds("cleanup_interval", default: result.cleanupInterval)
        guard !node.has("load_assignment") else {
            throw node.error("load_assignment", "ORIGINAL_DST clusters must have none")
        }
        return result
    }

    /// An `envoy.extensions.clusters.original_dst.v3.OriginalDstCluster`, or `Cluster.OriginalDstLbConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let name = node.string("http_header_name")
        if node.bool("use_http_header") { header = HeaderKey(name.isEmpty ? "x-envoy-original-dst-host" : name) }
        guard header != nil || name.isEmpty else {
            throw node.error("http_header_name", "needs use_http_header")
        }
        if let number = node.uint32IfSet("upstream_port_override") {
            guard let port = UInt16(exactly: number) else { throw node.error("upstream_port_override", "is no port") }
            self.port = Port(port)
        }
        if let key = node.message("metadata_key") {
            metadata = (key.string("key"), key.messages("path").map { $0.string("key") })
        }
    }
}
