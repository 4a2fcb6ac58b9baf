import HTTP
import XDS

/// The client is sent elsewhere (`envoy.config.route.v3.RedirectAction`).
package struct RedirectAction: Sendable {
    enum Path: Sendable {
        case unchanged
        /// With a query of its own or without.
        case literal([UInt8], hasQuery: Bool)
        case rewrite(PathRewrite)
    }

    var status = 301
    var scheme: [UInt8] = []
    var host: [UInt8] = []
    var port: UInt32 = 0
    var path = Path.unchanged
    var stripsQuery = false

    /// To the same place over TLS.
    static let https = {
        var action = RedirectAction()
        action.scheme = Array("https".utf8)
        return action
    }()

    /// Where to. Rare enough to make an array.
    func location(_ request: HeaderBlock, _ match: RouteMatch?) -> [UInt8] {
        let newScheme = scheme.isEmpty ? Array(request.scheme) : scheme
        var target = newScheme + Array("://".utf8)
        target += host.isEmpty ? requestHost(request, newScheme) : host
        if port != 0 { target += Array(":\(port)".utf8) }
        let query = request.path.dropFirst(request.pathWithoutQuery.count)
        switch path {
        case .literal(let text, let hasQuery):
            target += text
            if !hasQuery, !stripsQuery { target += query }
        case .rewrite(let rewrite):
            if let match, let range = rewrite.append(to: request, match) {
                let text = request.bytes(range)
                target += stripsQuery ? text.prefix { $0 != UInt8(ascii: "?") } : text[...]
            }
        case .unchanged:
            target += request.pathWithoutQuery
            if !stripsQuery { target += query }
        }
        return target
    }

    /// A port goes that is replaced, or that was the default of the scheme that is replaced.
    private func requestHost(_ request: HeaderBlock, _ newScheme: [UInt8]) -> [UInt8] {
        let authority = request.authority
        guard let colon = authority.lastIndex(of: UInt8(ascii: ":")),
            authority[colon...].allSatisfy({ $0 != UInt8(ascii: "]") })
        else { return Array(authority) }
        var goes = port != 0
        if !newScheme.elementsEqual(request.scheme) {
            let old = authority[colon...]
            let usual: StaticString = request.scheme.elementsEqual("https".utf8) ? ":443" : ":80"
            goes = goes || old.elementsEqual(usual.bytes)
        }
        return Array(goes ? authority[..<colon] : authority[...])
    }
}

extension RedirectAction {
    init(_ node: ConfigNode) throws(ConfigError) {
        status =
            switch try node.enumeration("response_code", as: Code.self) {
            case .movedPermanently: 301
            case .found: 302
            case .seeOther: 303
            case .temporary: 307
            case .permanent: 308
            }
        switch node.choice("scheme_rewrite_specifier") {
        case "https_redirect": if node.bool("https_redirect") { scheme = Array("https".utf8) }
        case "scheme_redirect": scheme = Array(node.string("scheme_redirect").utf8)
        default: break
        }
        host = Array(node.string("host_redirect").utf8)
        port = node.uint32("port_redirect")
        stripsQuery = node.bool("strip_query")
        switch node.choice("path_rewrite_specifier") {
        case nil: break
        case "path_redirect":
            let text = Array(node.string("path_redirect").utf8)
            if !text.isEmpty { path = .literal(text, hasQuery: text.contains(UInt8(ascii: "?"))) }
        case "prefix_rewrite":
            let text = Array(node.string("prefix_rewrite").utf8)
            if !text.isEmpty { path = .rewrite(.prefix(text)) }
        case "regex_rewrite":
            if let regex = try node.message("regex_rewrite", RegexSubstitution.init) { path = .rewrite(.regex(regex)) }
        case let other: throw node.unsupported(other ?? "")
        }
    }

    private enum Code: String, ConfigEnum {
        case movedPermanently = "MOVED_PERMANENTLY"
        case found = "FOUND"
        case seeOther = "SEE_OTHER"
        case temporary = "TEMPORARY_REDIRECT"
        case permanent = "PERMANENT_REDIRECT"
    }
}
