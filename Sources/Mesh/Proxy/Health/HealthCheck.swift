import XDS

/// A cluster's active health check as configuration has it.
struct HealthCheck: Sendable {
    var timing: HealthCheckTiming
    var probe: HealthProbe
    /// Probed instead of the hosts' own.
    var port: UInt16?
    /// The next probe of a host goes over the same connection.
    var reusesConnection: Bool
    /// What ALPN offers in place of the cluster's own; empty for that.
    var protocols: [String]
    /// Who is told what becomes of hosts.
    var events: HealthEventLog?

    /// An `envoy.config.core.v3.HealthCheck`.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        events = try HealthEventLog(node, context)
        _ = node.string("name")
        timing = HealthCheckTiming(
            timeout: node.duration("timeout", default: .zero), interval: node.duration("interval", default: .zero),
            unhealthyThreshold: node.uint32("unhealthy_threshold", default: 1),
            healthyThreshold: node.uint32("healthy_threshold", default: 1))
        timing.intervalJitter = node.duration("interval_jitter", default: .zero)
        timing.intervalJitterPercent = node.uint32("interval_jitter_percent")
        timing.initialJitter = node.duration("initial_jitter", default: .zero)
        timing.noTrafficInterval = node.duration("no_traffic_interval", default: timing.noTrafficInterval)
        timing.noTrafficHealthyInterval = node.duration("no_traffic_healthy_interval")
        timing.unhealthyInterval = node.duration("unhealthy_interval")
        timing.unhealthyEdgeInterval = node.duration("unhealthy_edge_interval")
        timing.healthyEdgeInterval = node.duration("healthy_edge_interval")
        port = node.uint32IfSet("alt_port").map { UInt16(clamping: $0) }
        reusesConnection = node.bool("reuse_connection", default: true)
        protocols = node.message("tls_options")?.strings("alpn_protocols") ?? []
        switch node.choice("health_checker") {
        case "http_health_check":
            guard let http = node.message("http_health_check") else { throw node.error("http_health_check") }
            probe = .http(try Self.http(http))
        case "tcp_health_check":
            guard let tcp = node.message("tcp_health_check") else { throw node.error("tcp_health_check") }
            let send = try tcp.message("send") { (node) throws(ConfigError) in try Self.payload(node) }
            let receive = try tcp.messages("receive") { (node) throws(ConfigError) in try Self.payload(node) }
            probe = .tcp(send: send ?? [], receive: PayloadMatcher(receive))
        case "grpc_health_check":
            guard let grpc = node.message("grpc_health_check") else { throw node.error("grpc_health_check") }
            probe = .grpc(
                HealthProbe.GRPCRequest(
                    service: grpc.string("service_name"), authority: grpc.string("authority"),
                    metadata: try Self.fields(grpc, "initial_metadata")))
        case let other: throw node.error("\(other ?? "health checker") is not supported")
        }
        do { try timing.validate() } catch { throw node.error(error.description) }
    }

    private static func http(_ node: ConfigNode) throws(ConfigError) -> HealthProbe.HTTPRequest {
        var expectation = HTTPHealthExpectation()
        expectation.expected = try node.messages("expected_statuses", range)
        expectation.retriable = try node.messages("retriable_statuses", range)
        expectation.receive = PayloadMatcher(
            try node.messages("receive") { (node) throws(ConfigError) in try payload(node) })
        // Answers are read whole, up to a bound that is larger.
        node.ignore("response_buffer_size")
        let codec = try node.enumeration("codec_client_type", as: Codec.self)
        guard codec != .http3 else { throw node.error("codec_client_type", "HTTP3 is not supported") }
        let method = node.enumName("method")
        do { try expectation.validate() } catch { throw node.error(error.description) }
        let body = try node.message("send") { (node) throws(ConfigError) in try payload(node) } ?? []
        guard body.isEmpty || method == "POST" || method == "PUT" else {
            throw node.error("send", "needs the method POST or PUT")
        }
        return HealthProbe.HTTPRequest(
            host: node.string("host"), path: node.string("path"),
            method: method == "METHOD_UNSPECIFIED" ? "GET" : method,
            headers: try fields(node, "request_headers_to_add"), expectation: expectation,
            speaksHTTP2: codec == .http2, body: body)
    }

    private enum Codec: String, ConfigEnum {
        case http1 = "HTTP1"
        case http2 = "HTTP2"
        case http3 = "HTTP3"
    }

    /// A list of `HeaderValueOption`.
    private static func fields(
        _ node: ConfigNode, _ name: String
    ) throws(ConfigError) -> [(name: String, value: String)] {
        try node.messages(name) { (option) throws(ConfigError) in
            guard let header = option.message("header") else { throw option.error("header", "is missing") }
            option.ignore("append", "append_action", "keep_empty_value")
            return (header.string("key").lowercased(), header.string("value"))
        }
    }

    private static func range(_ node: ConfigNode) throws(ConfigError) -> Range<Int> {
        let (start, end) = (Int(node.int64("start")), Int(node.int64("end")))
        guard start <= end else { throw node.error("end", "is before the start") }
        return start..<end
    }

    private static func payload(_ node: ConfigNode) throws(ConfigError) -> [UInt8] {
        if node.choice("payload") == "binary" { return node.bytes("binary") }
        do {
            return try PayloadMatcher(hexadecimal: [node.string("text")]).pieces[0]
        } catch { throw node.error("text", error.description) }
    }
}
