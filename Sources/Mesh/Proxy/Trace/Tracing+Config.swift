import XDS

extension Tracing {
    /// An `HttpConnectionManager.Tracing`.
    ///
    /// - Parameter requestID: the manager's `request_id_extension`; nil for the usual one.
    convenience init(
        _ node: ConfigNode, requestID: RequestIDOptions, prefix: String, _ context: BuildContext
    ) throws(ConfigError) {
        var options = Options()
        options.packsReason = requestID.packsTraceReason
        options.samplesByRequestID = requestID.samplesTraces
        options.sampling.client = Self.percent(node, "client_sampling", of: 100)
        options.sampling.random = Self.percent(node, "random_sampling", of: 10_000)
        options.sampling.overall = Self.percent(node, "overall_sampling", of: 100)
        options.isVerbose = node.bool("verbose")
        options.maximumPathLength = Int(node.uint32("max_path_tag_length", default: 256))
        options.tags = try CustomTag.read(node, "custom_tags")
        options.spansAttempts = node.bool("spawn_upstream_span", default: false)
        options.operation = try Template.read(node, "operation")
        options.attemptOperation = try Template.read(node, "upstream_operation")
        options.propagates = !node.bool("no_context_propagation")
        options.isEgress = context.listenerIsOutbound
        options.node = Array(context.nodeName.utf8)
        options.zone = Array(context.serviceZone.utf8)
        let export = try node.message("provider") { (provider) throws(ConfigError) in
            try context.traceExport(of: provider)
        }
        self.init(
            options, export ?? context.commonTraceExport, context.stats(TracingStat.self, .http(prefix)))
    }

    private static func percent(_ node: ConfigNode, _ name: String, of denominator: UInt32) -> RuntimeFraction {
        let percent = node.message(name).map { $0.double("value") } ?? 100
        return RuntimeFraction(
            numerator: UInt32(max(0, percent) * Double(denominator) / 100), denominator: denominator)
    }
}

extension CustomTag {
    static func read(_ node: ConfigNode, _ name: String) throws(ConfigError) -> [CustomTag] {
        try node.messages(name) { (node) throws(ConfigError) in try CustomTag(node) }.compactMap { $0 }
    }
}

extension Template {
    /// nil for an empty text.
    static func read(_ node: ConfigNode, _ name: String) throws(ConfigError) -> Template? {
        let text = node.string(name)
        guard !text.isEmpty else { return nil }
        do throws(OperatorParser.Invalid) { return try Template(text) } catch {
            throw node.error(name, error.description)
        }
    }
}

extension RouteTracing {
    /// An `envoy.config.route.v3.Tracing`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        self.init(
            client: try node.message("client_sampling", RuntimeFraction.init(percent:)),
            random: try node.message("random_sampling", RuntimeFraction.init(percent:)),
            overall: try node.message("overall_sampling", RuntimeFraction.init(percent:)),
            tags: try CustomTag.read(node, "custom_tags"), operation: try Template.read(node, "operation"),
            attemptOperation: try Template.read(node, "upstream_operation"))
    }
}

/// What a manager's `request_id_extension` says.
struct RequestIDOptions: Sendable {
    var packsTraceReason = true
    var samplesTraces = true

    init() {}

    /// A `RequestIDExtension`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let config = try node.typed("typed_config") else { return }
        guard config.typeName == "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig" else {
            throw node.error("typed_config", "request IDs of \(config.typeName) are not supported")
        }
        packsTraceReason = config.bool("pack_trace_reason", default: true)
        samplesTraces = config.bool("use_request_id_for_trace_sampling", default: true)
    }
}
