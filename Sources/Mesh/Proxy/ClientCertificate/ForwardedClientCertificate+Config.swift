import XDS

extension ForwardedClientCertificate {
    /// What an `HttpConnectionManager` says of client certificates.
    init(manager node: ConfigNode) throws(ConfigError) {
        let mode: Mode =
            switch try node.enumeration("forward_client_cert_details", as: ModeName.self) {
            case .sanitize: .sanitize
            case .forwardOnly: .forwardOnly
            case .appendForward: .appendForward
            case .sanitizeSet: .sanitizeSet
            case .alwaysForwardOnly: .alwaysForwardOnly
            }
        self.init(mode, details: try node.message("set_current_client_cert_details", Details.init) ?? [])
    }

    private enum ModeName: String, ConfigEnum {
        case sanitize = "SANITIZE"
        case forwardOnly = "FORWARD_ONLY"
        case appendForward = "APPEND_FORWARD"
        case sanitizeSet = "SANITIZE_SET"
        case alwaysForwardOnly = "ALWAYS_FORWARD_ONLY"
    }
}

extension ForwardedClientCertificate.Details {
    /// A `SetCurrentClientCertDetails`.
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        self = []
        if node.bool("subject", default: false) { insert(.subject) }
        if node.bool("cert") { insert(.certificate) }
        if node.bool("chain") { insert(.chain) }
        if node.bool("dns") { insert(.dns) }
        if node.bool("uri") { insert(.uri) }
        if node.bool("issuer") { insert(.issuer) }
        if try node.enumeration("format", as: FormatName.self) == .json { throw node.unsupported("format") }
    }

    private enum FormatName: String, ConfigEnum {
        case text = "TEXT"
        case json = "JSON"
    }
}
