import Glibc
import HTTP
import XDS

/// What a route asks of a request.
package struct RouteMatch: Sendable {
    enum Path: Sendable {
        case prefix([UInt8])
        /// The path, or what lies below it: `/a` and `/a/b`, not `/ab`.
        case segments([UInt8])
        case exact([UInt8])
        case regex(Regex)
        case template(PathTemplate)
        case connect
    }

    var path: Path
    /// Else the path's pattern is in lower case.
    var isCaseSensitive = true
    var fraction: RuntimeFraction?
    /// None of these, which is nearly always so: a matching path is all there is to it.
    var conditions: Conditions?

    /// What is asked besides the path.
    final class Conditions: Sendable {
        let headers: [HeaderMatcher]
        let parameters: [QueryParameterMatcher]
        let cookies: [CookieMatcher]
        let metadata: [MetadataMatcher]
        let filterState: [FilterStateMatcher]
        let isGRPC: Bool
        /// The client showed a certificate, and it was found to be good.
        let presentsCertificate: Bool?
        let hasValidCertificate: Bool?

        init?(_ node: ConfigNode) throws(ConfigError) {
            headers = try node.messages("headers", HeaderMatcher.init)
            parameters = try node.messages("query_parameters", QueryParameterMatcher.init)
            cookies = try node.messages("cookies", CookieMatcher.init)
            metadata = try node.messages("dynamic_metadata", MetadataMatcher.init)
            filterState = try node.messages("filter_state", FilterStateMatcher.init)
            isGRPC = node.message("grpc") != nil
            let tls = node.message("tls_context")
            presentsCertificate = tls?.boolIfSet("presented")
            hasValidCertificate = tls?.boolIfSet("validated")
            let counts = headers.count + parameters.count + cookies.count + metadata.count + filterState.count
            if counts == 0, !isGRPC, presentsCertificate == nil, hasValidCertificate == nil { return nil }
        }

        func hold(_ stream: HTTPStream) -> Bool {
            for matcher in headers where !matcher.matches(stream.request) { return false }
            for matcher in parameters where !matcher.matches(stream.request.path) { return false }
            for matcher in cookies where !matcher.matches(stream.request) { return false }
            for matcher in metadata where !matcher.matches(stream.metadata) { return false }
            for matcher in filterState where !matcher.matches(stream.metadata) { return false }
            if isGRPC, !stream.isGRPC { return false }
            guard presentsCertificate != nil || hasValidCertificate != nil else { return true }
            // Over plain text nothing is asked of a certificate.
            guard stream.connection?.isSecure == true else { return true }
            let peer = stream.connection?.tlsPeer
            if let wanted = presentsCertificate, wanted != (peer?.chain.isEmpty == false) { return false }
            if let wanted = hasValidCertificate, wanted != (peer?.isTrusted == true) { return false }
            return true
        }
    }

    package init(prefix: String) { path = .prefix(Array(prefix.utf8)) }
    package init(exact path: String) { self.path = .exact(Array(path.utf8)) }

    /// - Parameter bare: the path without its query.
    func matches(_ stream: HTTPStream, _ bare: UnsafeRawBufferPointer) -> Bool {
        guard matches(bare, isConnect: stream.isConnect) else { return false }
        if let fraction, !fraction.holds(stream.random) { return false }
        return conditions?.hold(stream) ?? true
    }

    func matches(_ bare: UnsafeRawBufferPointer, isConnect: Bool) -> Bool {
        switch path {
        case .connect: return isConnect
        // A CONNECT over HTTP/1 has no path, and other matchers none for it.
        case _ where isConnect && bare.isEmpty: return false
        case .prefix(let prefix): return bare.count >= prefix.count && isSame(bare, prefix)
        case .segments(let prefix):
            guard bare.count >= prefix.count, isSame(bare, prefix) else { return false }
            return bare.count == prefix.count || bare[prefix.count] == UInt8(ascii: "/")
        case .exact(let exact): return bare.count == exact.count && isSame(bare, exact)
        case .regex(let regex): return regex.matches(bare)
        case .template(let template): return template.matches(bare)
        }
    }

    /// The beginning of `text`, which is long enough.
    @inline(__always)
    private func isSame(_ text: UnsafeRawBufferPointer, _ wanted: [UInt8]) -> Bool {
        wanted.withUnsafeBytes { wanted in
            guard !wanted.isEmpty else { return true }
            if isCaseSensitive { return memcmp(text.baseAddress!, wanted.baseAddress!, wanted.count) == 0 }
            for index in 0..<wanted.count where lowercase(text[index]) != wanted[index] { return false }
            return true
        }
    }

    /// How much of a path that matches a prefix rewrite replaces.
    func matchedLength(_ bare: UnsafeRawBufferPointer) -> Int {
        switch path {
        case .prefix(let prefix), .segments(let prefix): min(prefix.count, bare.count)
        case .exact, .regex, .template, .connect: bare.count
        }
    }
}

extension RouteMatch {
    /// An `envoy.config.route.v3.RouteMatch`.
    init(_ node: ConfigNode) throws(ConfigError) {
        isCaseSensitive = node.bool("case_sensitive", default: true)
        let isCaseSensitive = isCaseSensitive
        func text(_ name: String) -> [UInt8] {
            let text = Array(node.string(name).utf8)
            return isCaseSensitive ? text : text.map(lowercase)
        }
        switch node.choice("path_specifier") {
        case "prefix": path = .prefix(text("prefix"))
        case "path": path = .exact(text("path"))
        case "path_separated_prefix": path = .segments(text("path_separated_prefix"))
        case "safe_regex":
            guard let regex = try node.message("safe_regex", Regex.init(config:)) else {
                throw node.error("safe_regex", "is missing")
            }
            path = .regex(regex)
        case "connect_matcher":
            _ = node.message("connect_matcher")
            path = .connect
        case "path_match_policy":
            guard let template = try node.message("path_match_policy", Self.template) else {
                throw node.error("path_match_policy", "is missing")
            }
            path = .template(template)
        case let other: throw node.error("path specifier \(other ?? "") is not supported")
        }
        fraction = try node.message("runtime_fraction", RuntimeFraction.init(_:))
        conditions = try Conditions(node)
    }

    private static func template(_ node: ConfigNode) throws(ConfigError) -> PathTemplate {
        _ = node.string("name")
        guard let policy = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        guard policy.typeName == "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig" else {
            throw node.error("typed_config", "path match policy \(policy.typeName) is not supported")
        }
        do throws(PathTemplate.Invalid) {
            return try PathTemplate(policy.string("path_template"))
        } catch {
            throw policy.error("path_template", error.description)
        }
    }
}
