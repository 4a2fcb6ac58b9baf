import HTTP
import XDS

/// Redirects of upstreams that the proxy follows by itself (`envoy.config.route.v3.InternalRedirectPolicy`).
final class InternalRedirectPolicy: Sendable {
    /// What the route that a redirect leads to must be.
    enum Predicate: Sendable {
        /// One that this route has not led to before.
        case previousRoutes
        /// One of these names.
        case allowListed(Set<String>)
        /// Not of plain text when the request came over TLS, nor of TLS when it did not.
        case safeCrossScheme
    }

    let maximum: Int
    private let statuses: Set<Int>
    let predicates: [Predicate]
    let allowsCrossScheme: Bool
    /// Fields of the redirect that the request has from then on.
    let copiedHeaders: [HeaderKey]

    init(_ node: ConfigNode) throws(ConfigError) {
        maximum = Int(node.uint32("max_internal_redirects", default: 1))
        let known: Set<Int> = [301, 302, 303, 307, 308]
        let statuses = node.uint32s("redirect_response_codes").map(Int.init)
        self.statuses = statuses.isEmpty ? [302] : known.intersection(statuses)
        predicates = try node.messages("predicates", Predicate.init)
        allowsCrossScheme = node.bool("allow_cross_scheme_redirect")
        var copied: [HeaderKey] = []
        for name in node.strings("response_headers_to_copy") {
            guard !name.hasPrefix(":"), name.lowercased() != "host" else {
                throw node.error("response_headers_to_copy", ":-prefixed headers or Hosts may not be specified here.")
            }
            copied.append(HeaderKey(name))
        }
        copiedHeaders = copied
    }

    func follows(_ status: Int) -> Bool { statuses.contains(status) }

    /// Whether one of the predicates forbids a way.
    ///
    /// - Parameter previous: the routes that `from` has led to.
    func forbids(
        _ route: RouteEntry, previous: Set<String>, isFromTLS: Bool, isToTLS: Bool
    ) -> Bool {
        predicates.contains { predicate in
            switch predicate {
            case .previousRoutes: previous.contains(route.name)
            case .allowListed(let names): !names.contains(route.name)
            case .safeCrossScheme: isToTLS && !isFromTLS
            }
        }
    }
}

extension InternalRedirectPolicy.Predicate {
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        _ = node.string("name")
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        switch config.typeName {
        case "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig": self = .previousRoutes
        case "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig":
            self = .allowListed(Set(config.strings("allowed_route_names")))
        case "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig": self = .safeCrossScheme
        default: throw node.error("typed_config", "redirect predicate \(config.typeName) is not supported")
        }
    }
}

/// Where a redirect leads: an absolute URL of HTTP (RFC 3986), taken apart.
struct RedirectTarget: Equatable {
    var isHTTPS: Bool
    /// With its port, unless that is the scheme's own.
    var authority: [UInt8]
    /// With its query, without its fragment.
    var path: [UInt8]

    /// nil for what is no such URL.
    init?(_ text: UnsafeRawBufferPointer) {
        let (plain, secure): (StaticString, StaticString) = ("http://", "https://")
        func begins(_ scheme: StaticString) -> Bool {
            text.count > scheme.utf8CodeUnitCount
                && equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: text[..<scheme.utf8CodeUnitCount]), scheme)
        }
        guard begins(plain) || begins(secure) else { return nil }
        isHTTPS = begins(secure)
        let rest = text[(isHTTPS ? secure : plain).utf8CodeUnitCount...].prefix { $0 != UInt8(ascii: "#") }
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
        var host = rest[..<end]
        if let at = host.lastIndex(of: UInt8(ascii: "@")) { host = host[(at + 1)...] }
        let bare = UnsafeRawBufferPointer(rebasing: host)
        if let port = Authority.portRange(bare) {
            guard let number = UnsafeRawBufferPointer(rebasing: bare[port]).decimal, number <= 65535 else { return nil }
            if number == (isHTTPS ? 443 : 80) { host = host.prefix(port.lowerBound - 1) }
        }
        guard let first = host.first, first != UInt8(ascii: ":") else { return nil }
        authority = host.map(lowercase)
        path = Array(rest[end...])
        if path.first != UInt8(ascii: "/") { path.insert(UInt8(ascii: "/"), at: 0) }
    }
}
