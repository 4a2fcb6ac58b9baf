import HTTP
import XDS

/// Keeps out requests that change something and come from another site's page (`envoy.filters.http.csrf`).
package final class CSRFFilter: Sendable {
    private let policy: CSRFPolicy
    private let missing, invalid, valid: CounterID

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        policy = try CSRFPolicy(node)
        missing = context.counter("csrf.missing_source_origin")
        invalid = context.counter("csrf.request_invalid")
        valid = context.counter("csrf.request_valid")
    }

    private enum Header {
        static let origin = HeaderKey("origin")
        static let referer = HeaderKey("referer")
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var policy = policy
        if case .csrf(let override)? = stream.settings(slot) { policy = override }
        let isEnabled = policy.enabled.happens(stream.worker)
        guard isEnabled || policy.shadow.happens(stream.worker) else { return .proceed }
        switch stream.request.method {
        case .post, .put, .delete, .patch: break
        default: return .proceed
        }
        let source =
            stream.request.value(Header.origin).flatMap(Self.authority)
            ?? stream.request.value(Header.referer).flatMap(Self.authority)
        if source == nil { stream.worker.count(missing) }
        if let source, policy.allows(source, target: stream.request.authority) {
            stream.worker.count(valid)
            return .proceed
        }
        if source != nil { stream.worker.count(invalid) }
        guard isEnabled else { return .proceed }
        stream.reply(403, "Invalid origin", details: "csrf_origin_mismatch")
        return .replied
    }

    /// Host and port of an absolute URL; nil for what is none.
    private static func authority(_ url: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard let colon = url.firstIndex(of: UInt8(ascii: ":")), colon > 0, colon + 3 <= url.count,
            url[colon + 1] == UInt8(ascii: "/"), url[colon + 2] == UInt8(ascii: "/")
        else { return nil }
        let rest = url[(colon + 3)...]
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let authority = UnsafeRawBufferPointer(rebasing: rest[..<(end ?? rest.endIndex)])
        return authority.isEmpty ? nil : authority
    }
}

/// An `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
package struct CSRFPolicy: Sendable {
    let enabled: RuntimeFraction
    let shadow: RuntimeFraction
    /// Sites besides the own one, as host and port.
    let friends: [StringMatcher]

    init(_ node: ConfigNode) throws(ConfigError) {
        enabled = try node.message("filter_enabled", RuntimeFraction.init(_:)) ?? .never
        shadow = try node.message("shadow_enabled", RuntimeFraction.init(_:)) ?? .never
        friends = try node.messages("additional_origins", StringMatcher.init)
    }

    func allows(_ source: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer) -> Bool {
        source.elementsEqual(target) || friends.contains { $0.matches(source) }
    }
}
