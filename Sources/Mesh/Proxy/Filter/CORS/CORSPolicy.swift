import XDS

/// What one level of routing allows pages of other origins (`envoy.extensions.filters.http.cors.v3.CorsPolicy`).
package struct CORSPolicy: Sendable {
    let origins: [StringMatcher]
    let methods: [UInt8]
    let headers: [UInt8]
    let exposed: [UInt8]
    let maximumAge: [UInt8]
    let allowsCredentials: Bool?
    let allowsPrivateNetwork: Bool?
    let forwardsOtherPreflights: Bool?
    let enabled: RuntimeFraction
    let shadow: RuntimeFraction

    init(_ node: ConfigNode) throws(ConfigError) {
        origins = try node.messages("allow_origin_string_match", StringMatcher.init)
        methods = Array(node.string("allow_methods").utf8)
        headers = Array(node.string("allow_headers").utf8)
        exposed = Array(node.string("expose_headers").utf8)
        maximumAge = Array(node.string("max_age").utf8)
        allowsCredentials = node.boolIfSet("allow_credentials")
        allowsPrivateNetwork = node.boolIfSet("allow_private_network_access")
        forwardsOtherPreflights = node.boolIfSet("forward_not_matching_preflights")
        enabled = try node.message("filter_enabled", RuntimeFraction.init(_:)) ?? .always
        shadow = try node.message("shadow_enabled", RuntimeFraction.init(_:)) ?? .never
    }

    /// What this level leaves open is as the next says.
    func filled(from next: CORSPolicy) -> CORSPolicy { CORSPolicy(self, next) }

    private init(_ own: CORSPolicy, _ next: CORSPolicy) {
        origins = own.origins.isEmpty ? next.origins : own.origins
        methods = own.methods.isEmpty ? next.methods : own.methods
        headers = own.headers.isEmpty ? next.headers : own.headers
        exposed = own.exposed.isEmpty ? next.exposed : own.exposed
        maximumAge = own.maximumAge.isEmpty ? next.maximumAge : own.maximumAge
        allowsCredentials = own.allowsCredentials ?? next.allowsCredentials
        allowsPrivateNetwork = own.allowsPrivateNetwork ?? next.allowsPrivateNetwork
        forwardsOtherPreflights = own.forwardsOtherPreflights ?? next.forwardsOtherPreflights
        (enabled, shadow) = (own.enabled, own.shadow)
    }

    func allows(_ origin: UnsafeRawBufferPointer) -> Bool {
        origins.contains { matcher in
            if case .exact(let text) = matcher.pattern, text == [UInt8(ascii: "*")] { return true }
            return matcher.matches(origin)
        }
    }
}
