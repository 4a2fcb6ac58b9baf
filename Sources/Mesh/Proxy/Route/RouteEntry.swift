import HTTP
import JSON
import XDS

/// One route: what it matches and what becomes of a request that it matches. Immutable.
package final class RouteEntry: Sendable {
    package enum Action: Sendable {
        case forward(ForwardAction)
        case redirect(RedirectAction)
        case direct(DirectResponse)
        /// Filters see the request; nothing takes it further.
        case nonForwarding
    }

    package let name: String
    package let match: RouteMatch
    package let action: Action
    package let host: VirtualHostOptions
    /// Of the route, its virtual host and its table, in the order in which they are applied.
    let requestHeaders: [HeaderMutations]
    let responseHeaders: [HeaderMutations]
    /// Of the route, its virtual host and its table, as far as they say something of filters.
    let overrides: [FilterOverrides]
    /// What the virtual host asks rate limit services about.
    var hostRateLimits: [RateLimitPolicy] { host.rateLimits }
    /// By filter, for access logs and filters that ask.
    package let metadata: [String: JSONObject]
    package let statPrefix: String
    /// Another name for the operation, in traces (`decorator`); "" for none.
    package let operation: String
    package let propagatesOperation: Bool
    let tracing: RouteTracing?
    /// Body bytes that may be kept for a retry or a mirror; nil for the listener's limit.
    let bufferLimit: Int?

    /// A route of no configuration: what a virtual host that demands TLS answers by, and the proxy's own requests take.
    init(_ action: Action, host: VirtualHostOptions) {
        name = ""
        match = RouteMatch(prefix: "")
        self.action = action
        self.host = host
        requestHeaders = []
        responseHeaders = []
        overrides = []
        metadata = [:]
        statPrefix = ""
        operation = ""
        propagatesOperation = true
        tracing = nil
        bufferLimit = nil
    }

    /// An `envoy.config.route.v3.Route`.
    init(_ node: ConfigNode, _ context: RouteContext, _ host: VirtualHostOptions) throws(ConfigError) {
        guard let match = try node.message("match", RouteMatch.init) else { throw node.error("match", "is missing") }
        func required<T>(
            _ name: String, _ build: (ConfigNode) throws(ConfigError) -> T
        ) throws(ConfigError) -> T {
            guard let value = try node.message(name, build) else { throw node.error(name, "is missing") }
            return value
        }
        switch node.choice("action") {
        case "route":
            action = .forward(
                try required("route") { (node) throws(ConfigError) in try ForwardAction(node, context) })
        case "redirect": action = .redirect(try required("redirect", RedirectAction.init))
        case "direct_response":
            action = .direct(
                try required("direct_response") { (node) throws(ConfigError) in
                    try DirectResponse(node, bodyLimit: context.bodyLimit)
                })
        case "non_forwarding_action":
            _ = node.message("non_forwarding_action")
            action = .nonForwarding
        case let other: throw node.error("action \(other ?? "") is not supported")
        }
        if case .forward(let forward) = action, case .template(let rewrite)? = forward.options.pathRewrite {
            guard case .template(let template) = match.path else {
                throw node.error("route", "a path template rewrite needs a path template match")
            }
            for case .variable(let name) in rewrite.pieces where !template.variables.contains(name) {
                throw node.error(
                    "route", "\(String(decoding: name, as: UTF8.self)) is no variable of the path template")
            }
        }
        self.match = match
        self.host = host
        name = node.string("name")
        requestHeaders = host.table.order(try .request(node), host.requestHeaders, host.table.requestHeaders)
        responseHeaders = host.table.order(try .response(node), host.responseHeaders, host.table.responseHeaders)
        overrides = [try FilterOverrides(node, context.build), host.overrides, host.table.overrides].filter {
            !$0.isEmpty
        }
        metadata = node.message("metadata").map(Self.metadata) ?? [:]
        statPrefix = node.string("stat_prefix")
        let decorator = node.message("decorator")
        operation = decorator?.string("operation") ?? ""
        propagatesOperation = decorator?.bool("propagate", default: true) ?? true
        tracing = try node.message("tracing", RouteTracing.init)
        let limit =
            node.uint64IfSet("request_body_buffer_limit")
            ?? node.uint32IfSet("per_request_buffer_limit_bytes").map(UInt64.init)
        bufferLimit = limit.map { Int(clamping: $0) } ?? host.bufferLimit
    }

    /// The structures of a `core.v3.Metadata`.
    static func metadata(_ node: ConfigNode) -> [String: JSONObject] {
        // Typed metadata is for extensions that know its types; there are none.
        node.ignore("typed_filter_metadata")
        return Dictionary(node.structureMap("filter_metadata").map { ($0.key, $0.value) }) { $1 }
    }
}
