import HTTP
import Protobuf
import XDS

extension AccessLog.Sink {
    /// The service of an access log's configuration; nil for one that writes elsewhere.
    init?(service config: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        switch config.typeName {
        case "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig":
            do throws(OperatorParser.Invalid) { try AccessLog.Format.checkFormatters(config) } catch {
                throw config.error("formatters", error.description)
            }
            let service = try LogService.openTelemetry(config, context)
            self = .openTelemetry(service, try LogRecord(config))
        case "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig":
            func keys(_ name: String) -> [HeaderKey] { config.strings(name).map { HeaderKey($0) } }
            var entry = LogEntry(
                isHTTP: true, requestHeaders: keys("additional_request_headers_to_log"),
                responseHeaders: keys("additional_response_headers_to_log"),
                trailers: keys("additional_response_trailers_to_log"))
            let (service, tags) = try LogService.stream(config, .http, context)
            entry.tags = tags
            self = .stream(service, entry)
        case "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig":
            let (service, tags) = try LogService.stream(config, .tcp, context)
            self = .stream(service, LogEntry(isHTTP: false, tags: tags))
        default: return nil
        }
    }
}

extension LogService {
    private static let standardInterval: UInt64 = 1_000_000_000
    private static let standardBatch: UInt32 = 16384

    /// An `HttpGrpcAccessLogConfig` or a `TcpGrpcAccessLogConfig`, with the tags that each of its entries has.
    fileprivate static func stream(
        _ config: ConfigNode, _ kind: Settings.Kind, _ context: BuildContext
    ) throws(ConfigError) -> (LogService, [CustomTag]) {
        guard let common = config.message("common_config"), let grpc = common.message("grpc_service") else {
            throw config.error("common_config", "has no grpc_service")
        }
        var identifier = ReverseBuffer(capacity: 128)
        identifier.prepend(field: 2, said: common.string("log_name"))
        identifier.prepend(field: 1) { node in
            node.prepend(field: 6, said: "weft-proxy")
            if !context.serviceZone.isEmpty {
                node.prepend(field: 4) { $0.prepend(field: 2, said: context.serviceZone) }
            }
            node.prepend(field: 2, said: context.serviceCluster)
            node.prepend(field: 1, said: context.nodeName)
        }
        identifier.close(field: 1, since: 0)
        let settings = Settings(
            kind: kind, collector: try Collector(grpc: grpc, context), identity: identifier.bytes,
            interval: common.nanoseconds("buffer_flush_interval", default: standardInterval),
            batch: Int(common.uint32("buffer_size_bytes", default: standardBatch)))
        try readVersion(common)
        return (try context.logService(settings, config), try CustomTag.read(common, "custom_tags"))
    }

    /// An `OpenTelemetryAccessLogConfig`.
    fileprivate static func openTelemetry(
        _ config: ConfigNode, _ context: BuildContext
    ) throws(ConfigError) -> LogService {
        let common = config.message("common_config")
        let collector: Collector
        if let grpc = config.message("grpc_service") ?? common?.message("grpc_service") {
            collector = try Collector(grpc: grpc, context)
        } else if let http = config.message("http_service") {
            collector = try Collector(http: http)
        } else {
            throw config.error("needs a grpc_service or an http_service")
        }
        if let common { try readVersion(common) }
        func interval(_ node: ConfigNode?) -> UInt64 { node?.nanoseconds("buffer_flush_interval", default: 0) ?? 0 }
        let intervals = [interval(config), interval(common), standardInterval]
        let batch = config.uint32IfSet("buffer_size_bytes") ?? common?.uint32IfSet("buffer_size_bytes")
        let names = [config.string("log_name"), common?.string("log_name") ?? ""]
        _ = config.string("stat_prefix")
        var resource = ReverseBuffer(capacity: 256)
        let own =
            try config.message("resource_attributes") { (list) throws(ConfigError) in
                try LogRecord.Value.members(list, LogRecord.Value.fixed)
            } ?? []
        for (key, value) in own.reversed() { LogRecord.prepend(key, value, field: 1, nil, &resource) }
        var labels: [Collector.Attribute] = []
        if !config.bool("disable_builtin_labels") {
            labels = [
                Collector.Attribute(key: "log_name", value: names.first { !$0.isEmpty } ?? ""),
                Collector.Attribute(key: "zone_name", value: context.serviceZone),
                Collector.Attribute(key: "cluster_name", value: context.serviceCluster),
                Collector.Attribute(key: "node_name", value: context.nodeName),
            ]
        }
        labels = try Collector.detected(config.messages("resource_detectors"), after: labels)
        for label in labels.reversed() { Span.prepend(label.key, label.value, field: 1, to: &resource) }
        resource.close(field: 1, since: 0)
        let settings = Settings(
            kind: .openTelemetry, collector: collector, identity: resource.bytes,
            interval: intervals.first { $0 > 0 } ?? standardInterval, batch: Int(batch ?? standardBatch))
        return try context.logService(settings, config)
    }

    /// Only one version of the service is there.
    private static func readVersion(_ common: ConfigNode) throws(ConfigError) {
        guard common.enumName("transport_api_version") != "V2" else {
            throw common.error("transport_api_version", "V2 is not supported, only V3")
        }
    }
}

extension BuildContext {
    /// Logs that say the same share a service.
    fileprivate func logService(
        _ settings: LogService.Settings, _ node: ConfigNode
    ) throws(ConfigError) -> LogService {
        try settings.collector.check(node, self)
        if let known = logServices.first(where: { $0.settings == settings }) { return known }
        let made = LogService(settings, stats(LogServiceStat.self, .process))
        logServices.append(made)
        return made
    }
}
