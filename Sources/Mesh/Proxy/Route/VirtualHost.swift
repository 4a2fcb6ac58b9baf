import JSON
import XDS

/// What a virtual host says to all of its routes.
package final class VirtualHostOptions: Sendable {
    package enum TLSRequirement: Sendable { case none, external, all }

    package let name: String
    package let table: RouteTableOptions
    let requestHeaders: HeaderMutations
    let responseHeaders: HeaderMutations
    let overrides: FilterOverrides
    let tls: TLSRequirement
    let countsAttemptsInRequest: Bool
    let countsAttemptsInResponse: Bool
    let marksTimeoutRetries: Bool
    let retry: RetryPolicy?
    let hedges: Bool?
    let mirrors: [MirrorPolicy]
    package let rateLimits: [RateLimitPolicy]
    package let virtualClusters: [VirtualCluster]
    package let metadata: [String: JSONObject]
    let bufferLimit: Int?

    init(_ node: ConfigNode, _ table: RouteTableOptions, _ context: RouteContext) throws(ConfigError) {
        name = node.string("name")
        self.table = table
        requestHeaders = try .request(node)
        responseHeaders = try .response(node)
        overrides = try FilterOverrides(node, context.build)
        tls =
            switch try node.enumeration("require_tls", as: Requirement.self) {
            case .none: .none
            case .external: .external
            case .all: .all
            }
        countsAttemptsInRequest = node.bool("include_request_attempt_count")
        countsAttemptsInResponse = node.bool("include_attempt_count_in_response")
        marksTimeoutRetries = node.bool("include_is_timeout_retry_header")
        retry = try node.message("retry_policy", RetryPolicy.init)
        hedges = try node.message("hedge_policy", ForwardAction.hedges)
        let mirrors = try node.messages("request_mirror_policies") { (node) throws(ConfigError) in
            try MirrorPolicy(node, context)
        }
        self.mirrors = mirrors.isEmpty ? table.mirrors : mirrors
        rateLimits = try node.messages("rate_limits") { (node) throws(ConfigError) in
            try RateLimitPolicy(node, ofFilter: false)
        }
        let (hostName, build) = (name, context.build)
        var clusters = try node.messages("virtual_clusters") { (node) throws(ConfigError) in
            try VirtualCluster(node, host: hostName, build)
        }
        if !clusters.isEmpty { clusters.append(VirtualCluster(otherOf: hostName, build)) }
        virtualClusters = clusters
        metadata = node.message("metadata").map(RouteEntry.metadata) ?? [:]
        let limit =
            node.uint64IfSet("request_body_buffer_limit")
            ?? node.uint32IfSet("per_request_buffer_limit_bytes").map(UInt64.init)
        bufferLimit = limit.map { Int(clamping: $0) }
    }

    /// One that says nothing.
    private init() {
        name = ""
        table = .none
        requestHeaders = HeaderMutations()
        responseHeaders = HeaderMutations()
        overrides = FilterOverrides()
        tls = .none
        countsAttemptsInRequest = false
        countsAttemptsInResponse = false
        marksTimeoutRetries = false
        retry = nil
        hedges = nil
        mirrors = []
        rateLimits = []
        virtualClusters = []
        metadata = [:]
        bufferLimit = nil
    }

    static let none = VirtualHostOptions()

    /// Nothing here is a default for its routes' actions.
    var saysNothingOfForwarding: Bool { retry == nil && hedges == nil && mirrors.isEmpty }

    private enum Requirement: String, ConfigEnum {
        case none = "NONE"
        case external = "EXTERNAL_ONLY"
        case all = "ALL"
    }
}

/// The routes of some domains.
package final class VirtualHost: Sendable {
    package let options: VirtualHostOptions
    package let domains: [String]
    package let routes: [RouteEntry]
    private let index: RouteIndex?
    /// In place of `routes`: which of them a request comes to.
    private let tree: MatchTree<[RouteEntry]>?
    /// For requests that came without the TLS that is required; nil where none is.
    let toTLS: RouteEntry?

    init(_ node: ConfigNode, _ table: RouteTableOptions, _ context: RouteContext) throws(ConfigError) {
        let options = try VirtualHostOptions(node, table, context)
        var context = context
        context.host = options
        domains = node.strings("domains")
        routes = try node.messages("routes") { (node) throws(ConfigError) in try RouteEntry(node, context, options) }
        tree = try node.message("matcher") { (node) throws(ConfigError) in
            try MatchTree(node) { (action) throws(ConfigError) in
                switch action.typeName {
                case "envoy.config.route.v3.Route": return [try RouteEntry(action, context, options)]
                case "envoy.config.route.v3.RouteList":
                    return try action.messages("routes") { (node) throws(ConfigError) in
                        try RouteEntry(node, context, options)
                    }
                default: throw action.error("action \(action.typeName) is not supported")
                }
            }
        }
        if tree != nil, !routes.isEmpty { throw node.error("a virtual host has either routes or a matcher") }
        index = routes.count > RouteIndex.threshold ? RouteIndex(routes) : nil
        self.options = options
        toTLS = options.tls == .none ? nil : RouteEntry(.redirect(.https), host: options)
    }

    /// The first route that matches.
    func find(_ stream: HTTPStream) -> RouteEntry? {
        let bare = stream.request.pathWithoutQuery
        if let index { return index.find(bare, isConnect: stream.isConnect) { $0.match.matches(stream, bare) } }
        for route in tree?.decide(MatchSubject(stream)) ?? routes where route.match.matches(stream, bare) {
            return route
        }
        return nil
    }
}
