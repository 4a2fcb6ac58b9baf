import Glibc
import HTTP
import XDS

extension Collector {
    /// A `core.v3.GrpcService`.
    init(grpc service: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        let (target, metadata) = try CallTarget.grpc(
            service, timeout: service.nanoseconds("timeout", default: 0), context)
        self.init(way: .grpc, cluster: target.cluster.name, authority: target.authority, timeout: target.timeout)
        headers = metadata.map { Header(key: $0.0, value: $0.1) }
    }

    /// A `core.v3.HttpService`.
    init(http service: ConfigNode) throws(ConfigError) {
        guard let uri = service.message("http_uri") else { throw service.error("http_uri", "is missing") }
        let (target, path) = try CallTarget.http(uri)
        self.init(
            way: .http(path: path), cluster: target.cluster.name, authority: target.authority,
            timeout: target.timeout)
        headers = try service.messages("request_headers_to_add", Header.init)
    }

    /// Refuses a cluster that nobody knows.
    func check(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        if let known = context.clusterNames, !known.contains(cluster) {
            throw node.error("unknown cluster \"\(cluster)\"")
        }
    }

    /// What `resource_detectors` find; of two that find the same the later holds.
    static func detected(_ nodes: [ConfigNode], after attributes: [Attribute]) throws(ConfigError) -> [Attribute] {
        var found = attributes
        for detector in nodes {
            for attribute in try detected(detector) {
                found.removeAll { $0.key == attribute.key }
                found.append(attribute)
            }
        }
        return found
    }

    private static func detected(_ node: ConfigNode) throws(ConfigError) -> [Attribute] {
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig":
            return config.stringMap("attributes").map { Attribute(key: $0.key, value: $0.value) }
        case "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig":
            let text = getenv("OTEL_RESOURCE_ATTRIBUTES").map { String(cString: $0) } ?? ""
            return text.split(separator: ",").compactMap { pair in
                let halves = pair.split(separator: "=", maxSplits: 1).map(String.init)
                return halves.count == 2 ? Attribute(key: halves[0], value: halves[1]) : nil
            }
        default: throw node.error("typed_config", "resource detector \(config.typeName) is not supported")
        }
    }
}

extension Collector.Header {
    /// A `core.v3.HeaderValueOption`: what is fixed, or comes from the environment.
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        node.ignore("append", "append_action", "keep_empty_value")
        guard let header = node.message("header") else { throw node.error("header", "is missing") }
        key = HeaderKey(header.string("key"))
        value = header.bytes("raw_value")
        guard let template = try Template.read(header, "value") else { return }
        for piece in template.pieces {
            switch piece {
            case .text(let text): value += text
            case .value(.environment(let text), _): value += text ?? []
            default: throw header.error("value", "depends on a request, and there is none")
            }
        }
    }
}
