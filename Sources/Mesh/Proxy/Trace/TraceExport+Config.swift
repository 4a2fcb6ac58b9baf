import XDS

extension TraceExport.Settings {
    /// An `envoy.config.trace.v3.OpenTelemetryConfig`.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        if node.has("grpc_service") == node.has("http_service") {
            throw node.error("OpenTelemetry needs either a grpc_service or an http_service")
        }
        if let service = node.message("grpc_service") {
            self.init(collector: try Collector(grpc: service, context))
        } else {
            guard let service = node.message("http_service") else { throw node.error("http_service", "is missing") }
            self.init(collector: try Collector(http: service))
        }
        try readResource(node)
        namesScope = node.bool("set_instrumentation_scope", default: true)
        maximumWaiting = Int(node.uint32("max_cache_size", default: 1024))
        if let sampler = try node.message("sampler", TraceSampler.init) { self.sampler = sampler }
    }

    private mutating func readResource(_ node: ConfigNode) throws(ConfigError) {
        var found: [Collector.Attribute] = []
        if node.bool("set_telemetry_sdk_resource_attributes", default: true) {
            found.append(Collector.Attribute(key: "telemetry.sdk.name", value: "weft"))
            found.append(Collector.Attribute(key: "telemetry.sdk.language", value: "swift"))
            found.append(Collector.Attribute(key: "telemetry.sdk.version", value: TraceExport.version))
        }
        let service = node.string("service_name")
        if node.bool("set_service_name_resource_attribute", default: true) {
            // What OpenTelemetry says of services that do not say their name.
            found.append(
                Collector.Attribute(
                    key: "service.name", value: service.isEmpty ? "unknown_service:weft-proxy" : service))
        }
        attributes = try Collector.detected(node.messages("resource_detectors"), after: found)
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
        try settings.collector.check(config, self)
        if let known = traceExports.first(where: { $0.settings == settings }) { return known }
        let made = TraceExport(
            settings, interval: UInt64(runtime.integer("tracing.opentelemetry.flush_interval_ms") ?? 5000) * 1_000_000,
            batch: runtime.integer("tracing.opentelemetry.min_flush_spans") ?? 5,
            stats(TraceExportStat.self, .process))
        traceExports.append(made)
        return made
    }
}
