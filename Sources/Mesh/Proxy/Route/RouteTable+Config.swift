import XDS

extension RouteTable {
    /// An `envoy.config.route.v3.RouteConfiguration`.
    convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        let own = try FilterOverrides(node, context)
        let hosts = try node.messages("virtual_hosts") { (host) throws(ConfigError) in
            let limits = try host.messages("rate_limits") { (node) throws(ConfigError) in try RateLimitPolicy(node) }
            let levels = [try FilterOverrides(host, context), own]
            return VirtualHost(
                name: host.string("name"), domains: host.strings("domains"),
                routes: try host.messages("routes") { (route) throws(ConfigError) in
                    try RouteEntry(route, [try FilterOverrides(route, context)] + levels, limits)
                })
        }
        self.init(name: node.string("name"), hosts: hosts)
    }
}

extension RouteEntry {
    /// An `envoy.config.route.v3.Route`.
    convenience init(
        _ node: ConfigNode, _ overrides: [FilterOverrides], _ limits: [RateLimitPolicy]
    ) throws(ConfigError) {
        guard let match = try node.message("match", RouteMatch.init) else { throw node.error("match", "is missing") }
        let action: Action
        switch node.choice("action") {
        case "route":
            guard let forward = try node.message("route", ForwardAction.read) else {
                throw node.error("route", "is missing")
            }
            action = .forward(forward)
        case "direct_response":
            guard let response = try node.message("direct_response", DirectResponse.init) else {
                throw node.error("direct_response", "is missing")
            }
            action = .direct(response)
        case let other: throw node.error("action \(other ?? "") is not supported")
        }
        self.init(
            name: node.string("name"), match: match, action: action, overrides: overrides.filter { !$0.isEmpty },
            hostRateLimits: limits)
    }
}

extension RouteMatch {
    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.choice("path_specifier") {
        case "prefix": self.init(path: .prefix(Array(node.string("prefix").utf8)))
        case "path": self.init(path: .exact(Array(node.string("path").utf8)))
        case let other: throw node.error("path specifier \(other ?? "") is not supported")
        }
    }
}

extension DirectResponse {
    init(_ node: ConfigNode) throws(ConfigError) {
        self.init(status: Int(node.uint32("status")), body: try node.message("body", DataSource.inline) ?? [])
    }
}

extension ForwardAction {
    static func read(_ node: ConfigNode) throws(ConfigError) -> ForwardAction {
        var options = Options()
        options.timeout = node.nanoseconds("timeout", default: options.timeout)
        options.idleTimeout = node.nanoseconds("idle_timeout")
        options.rateLimits = try node.messages("rate_limits") { (node) throws(ConfigError) in try RateLimitPolicy(node)
        }
        options.includesHostRateLimits = node.bool("include_vh_rate_limits", default: false)
        switch node.choice("cluster_specifier") {
        case "cluster": return ForwardAction(.cluster(ClusterID(node.string("cluster"))), options)
        case let other: throw node.error("cluster specifier \(other ?? "") is not supported")
        }
    }
}
