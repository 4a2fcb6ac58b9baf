import Glibc
import HTTP
import XDS

extension TraceExport.Settings {
    /// An `envoy.config.trace.v3.OpenTelemetryConfig`.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        if node.has("grpc_service") == node.has("http_service") {
            throw node.error("OpenTelemetry needs either a grpc_service or an http_service")
        }
        if let service = node.message("grpc_service") {
            let (target, metadata) = try CallTarget.grpc(
                service, timeout: service.nanoseconds("timeout", default: 0), context)
            self.init(
                way: .grpc, cluster: target.cluster.name, authority: target.authority, timeout: target.timeout)
            headers = metadata.map { Header(key: $0.0, value: $0.1) }
        } else {
            guard let service = node.message("http_service"), let uri = service.message("http_uri") else {
                throw node.error("http_service", "has no http_uri")
            }
            let (target, path) = try CallTarget.http(uri)
            self.init(
                way: .http(path: path), cluster: target.cluster.name, authority: target.authority,
                timeout: target.timeout)
            headers = try service.messages("request_headers_to_add", Header.init)
        }
        try readResource(node)
        namesScope = node.bool("set_instrumentation_scope", default: true)
        maximumWaiting = Int(node.uint32("max_cache_size", default: 1024))
        if let sampler = try node.message("sampler", TraceSampler.init) { self.sampler = sampler }
    }

    private mutating func readResource(_ node: ConfigNode) throws(ConfigError) {
        var found: [Attribute] = []
        if node.bool("set_telemetry_sdk_resource_attributes", default: true) {
            found.append(Attribute(key: "telemetry.sdk.name", value: "weft"))
            found.append(Attribute(key: "telemetry.sdk.language", value: "swift"))
            found.append(Attribute(key: "telemetry.sdk.version", value: TraceExport.version))
        }
        let service = node.string("service_name")
        if node.bool("set_service_name_resource_attribute", default: true) {
            // What OpenTelemetry says of services that do not say their name.
            found.append(
                Attribute(key: "service.name", value: service.isEmpty ? "unknown_service:weft-proxy" : service))
        }
        for detector in node.messages("resource_detectors") {
            for attribute in try Self.detected(detector) {
                found.removeAll { $0.key == attribute.key }
                found.append(attribute)
            }
        }
        attributes = found
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

extension TraceExport.Settings.Header {
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

extension TraceSampler {
    /// A `TypedExtensionConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig": self = .always
        case "envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig":
            guard let root = try config.message("wrapped_sampler", TraceSampler.init) else {
                throw config.error("wrapped_sampler", "is missing")
            }
            self = .parentBased(root)
        case "envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig":
            let fraction = try config.message("sampling_percentage", RuntimeFraction.init(percent:))
            let part = Double(fraction?.numerator ?? 0) / Double(fraction?.denominator ?? 100)
            self = .ratio(UInt64(min(part, 1) * 4_294_967_296))
        default: throw node.error("typed_config", "sampler \(config.typeName) is not supported")
        }
    }
}

extension BuildContext {
    /// A `config.trace.v3.Tracing.Http`. Providers that say the same are one.
    func traceExport(of provider: ConfigNode) throws(ConfigError) -> TraceExport {
        _ = provider.string("name")
        guard let config = try provider.typed("typed_config") else {
            throw provider.error("typed_config", "is missing")
        }
        guard config.typeName == "envoy.config.trace.v3.OpenTelemetryConfig" else {
            throw provider.error("typed_config", "tracer \(config.typeName) is not supported")
        }
        let settings = try TraceExport.Settings(config, self)
        if let clusterNames, !clusterNames.contains(settings.cluster) {
            throw config.error("unknown cluster \"\(settings.cluster)\"")
        }
        if let known = traceExports.first(where: { $0.settings == settings }) { return known }
        let made = TraceExport(
            settings, interval: UInt64(runtime.integer("tracing.opentelemetry.flush_interval_ms") ?? 5000) * 1_000_000,
            batch: runtime.integer("tracing.opentelemetry.min_flush_spans") ?? 5,
            stats(TraceExportStat.self, .process))
        traceExports.append(made)
        return made
    }
}
