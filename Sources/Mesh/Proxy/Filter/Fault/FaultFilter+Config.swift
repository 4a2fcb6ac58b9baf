import XDS

extension FaultFilter {
    /// An `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        var settings = Settings()
        if let delay = node.message("delay") {
            settings.delay =
                switch delay.choice("fault_delay_secifier") {
                case "header_delay":
                    delay.message("header_delay").map { _ in .header }
                default: .fixed(delay.nanoseconds("fixed_delay", default: 0))
                }
            settings.delayPart = try delay.message("percentage", RuntimeFraction.init(percent:)) ?? .never
        }
        if let abort = node.message("abort") {
            settings.abort =
                switch abort.choice("error_type") {
                case "header_abort": abort.message("header_abort").map { _ in .header }
                case "grpc_status": .fixed(.grpc(Int(abort.uint32("grpc_status"))))
                default: .fixed(.http(Int(abort.uint32("http_status"))))
                }
            settings.abortPart = try abort.message("percentage", RuntimeFraction.init(percent:)) ?? .never
        }
        if let rate = node.message("response_rate_limit") {
            settings.rate =
                switch rate.choice("limit_type") {
                case "header_limit": rate.message("header_limit").map { _ in .header }
                default: .fixed(rate.message("fixed_limit")?.uint64("limit_kbps") ?? 0)
                }
            settings.ratePart = try rate.message("percentage", RuntimeFraction.init(percent:)) ?? .never
        }
        settings.headers = try node.messages("headers", HeaderMatcher.init)
        settings.nodes = node.strings("downstream_nodes").map { Array($0.utf8) }
        let cluster = node.string("upstream_cluster")
        if !cluster.isEmpty { settings.cluster = ClusterID(cluster) }
        if let limit = node.uint32IfSet("max_active_faults") { settings.maximumActive = Int(limit) }
        // Runtime keys say what the configuration says until a runtime layer says otherwise; there are none.
        node.ignore(
            "delay_percent_runtime", "abort_percent_runtime", "delay_duration_runtime", "abort_http_status_runtime",
            "max_active_faults_runtime", "response_rate_limit_percent_runtime", "abort_grpc_status_runtime",
            "disable_downstream_cluster_stats", "filter_metadata")
        self.init(
            settings,
            Counters(
                delays: context.counter("fault.delays_injected"), aborts: context.counter("fault.aborts_injected"),
                slowed: context.counter("fault.response_rl_injected"),
                overflows: context.counter("fault.faults_overflow")))
    }
}
