import TLS
import XDS

extension DownstreamSecurity {
    /// The transport socket of a filter chain; nil for plaintext.
    static func read(_ node: ConfigNode) throws(ConfigError) -> DownstreamSecurity? {
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "transport socket \"\(node.string("name"))\" has no configuration")
        }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": return nil
        case "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext": return try DownstreamSecurity(config)
        default: throw node.error("typed_config", "transport socket \(config.typeName) is not supported")
        }
    }

    /// An `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let common = node.message("common_tls_context") else {
            throw node.error("common_tls_context", "is missing")
        }
        let parts = try CommonSecurity(common)
        guard !parts.identities.isEmpty else {
            throw common.error("tls_certificates", "a listener's TLS needs a certificate")
        }
        var configuration = TLSServerConfiguration(
            identities: parts.identities, verification: parts.verification,
            requiresClientCertificate: node.bool("require_client_certificate", default: false))
        configuration.parameters = parts.parameters
        configuration.parameters.prefersClientCiphers = node.bool("prefer_client_ciphers")
        configuration.protocols = parts.protocols
        configuration.announcesAuthorities = parts.announcesAuthorities
        configuration.offersAllOnNameMismatch = node.bool("full_scan_certs_on_sni_mismatch", default: false)
        switch node.choice("session_ticket_keys_type") {
        case "session_ticket_keys":
            let keys = try node.message("session_ticket_keys") { (keys) throws(ConfigError) in
                try keys.messages("keys", DataSource.inline)
            }
            do { configuration.tickets = .keys(try SessionTicketKeys(keys ?? [])) } catch {
                throw node.error("session_ticket_keys", error.description)
            }
        case "disable_stateless_session_resumption":
            if node.bool("disable_stateless_session_resumption") { configuration.tickets = .off }
        case nil: break
        case let other: throw node.error("\(other ?? "") is not supported")
        }
        if node.bool("disable_stateful_session_resumption") { configuration.statefulSessions = 0 }
        configuration.sessionLifetime = node.nanoseconds("session_timeout").map { Int($0 / 1_000_000_000) }
        if try node.enumeration("ocsp_staple_policy", as: StaplePolicy.self) != .lenient {
            throw node.unsupported("ocsp_staple_policy")
        }
        do {
            self.init(
                context: try TLSContext(server: configuration),
                requiresServerName: node.bool("require_sni", default: false))
        } catch {
            throw node.error("common_tls_context", error.description)
        }
    }

    private enum StaplePolicy: String, ConfigEnum {
        case lenient = "LENIENT_STAPLING"
        case strict = "STRICT_STAPLING"
        case must = "MUST_STAPLE"
    }
}

extension UpstreamSecurity {
    /// The transport socket of a cluster; nil for plaintext. `protocols` are what ALPN offers where the context says nothing.
    static func read(_ node: ConfigNode, protocols: [String] = []) throws(ConfigError) -> UpstreamSecurity? {
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "transport socket \"\(node.string("name"))\" has no configuration")
        }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": return nil
        case "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext":
            return try UpstreamSecurity(config, protocols: protocols)
        default: throw node.error("typed_config", "transport socket \(config.typeName) is not supported")
        }
    }

    /// An `envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`, and what is within it.
    /// nil for any other transport socket.
    static func readProxyProtocol(
        _ socket: ConfigNode, protocols: [String]
    ) throws(ConfigError) -> (version: ProxyProtocolHeader.Version?, security: UpstreamSecurity?)? {
        let type = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
        guard socket.typeNameOfAny("typed_config") == type, let node = try socket.typed("typed_config") else {
            return nil
        }
        _ = socket.string("name")
        let version = try node.message("config") { (config) throws(ConfigError) in
            try config.enumeration("version", as: ProxyProtocolVersion.self)
        }
        guard let inner = node.message("transport_socket") else { throw node.error("transport_socket", "is missing") }
        return (version == .v2 ? .v2 : .v1, try read(inner, protocols: protocols))
    }

    private enum ProxyProtocolVersion: String, ConfigEnum {
        case v1 = "V1"
        case v2 = "V2"
    }

    /// An `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
    init(_ node: ConfigNode, protocols: [String] = []) throws(ConfigError) {
        let parts = try node.message("common_tls_context", CommonSecurity.init) ?? CommonSecurity()
        guard parts.identities.count <= 1 else {
            throw node.error("common_tls_context", "an upstream's TLS takes one certificate")
        }
        guard !node.bool("allow_renegotiation") else { throw node.unsupported("allow_renegotiation") }
        var verification = parts.verification
        if node.bool("enforce_rsa_key_usage", default: false) { verification?.enforcesRSAKeyUsage = true }
        var configuration = TLSClientConfiguration(
            verification: verification, checksServerName: node.bool("auto_sni_san_validation"))
        configuration.identity = parts.identities.first
        configuration.parameters = parts.parameters
        configuration.protocols = parts.protocols.isEmpty ? protocols : parts.protocols
        configuration.storedTickets = Int(node.uint32("max_session_keys", default: 1))
        do {
            self.init(
                context: try TLSContext(client: configuration), serverName: node.string("sni"),
                usesHostname: node.bool("auto_host_sni"))
        } catch {
            throw node.error("common_tls_context", error.description)
        }
    }
}

/// What both sides' contexts have in common (`CommonTlsContext`).
struct CommonSecurity {
    var identities: [TLSIdentity] = []
    var verification: PeerVerification?
    var parameters = TLSParameters()
    var protocols: [String] = []
    var announcesAuthorities = true

    init() {}

    init(_ node: ConfigNode) throws(ConfigError) {
        identities = try node.messages("tls_certificates", TLSIdentity.read)
        switch node.choice("validation_context_type") {
        case "validation_context":
            if let context = node.message("validation_context") {
                verification = try PeerVerification.read(context)
                announcesAuthorities = !context.bool("suppress_client_ca_list")
            }
        case nil: break
        case let other: throw node.error("\(other ?? "") is not supported")
        }
        if let parameters = try node.message("tls_params", TLSParameters.init) { self.parameters = parameters }
        protocols = node.strings("alpn_protocols")
    }
}

extension TLSIdentity {
    /// An `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`.
    static func read(_ node: ConfigNode) throws(ConfigError) -> TLSIdentity {
        func text(_ name: String) throws(ConfigError) -> String? {
            try node.message(name, DataSource.inline).map { String(decoding: $0, as: UTF8.self) }
        }
        let password = try text("password")
        do throws(TLSError) {
            if let archive = try pkcs12(node) { return try TLSIdentity(pkcs12: archive, password: password ?? "") }
            let chain = try required(node, "certificate_chain")
            let key = try required(node, "private_key")
            return try TLSIdentity(certificatePEM: chain, keyPEM: key, password: password)
        } catch {
            throw node.error(error.description)
        }
    }

    private static func pkcs12(_ node: ConfigNode) throws(TLSError) -> [UInt8]? {
        do { return try node.message("pkcs12", DataSource.inline) } catch {
            throw TLSError(.configuration, error.description)
        }
    }

    private static func required(_ node: ConfigNode, _ name: String) throws(TLSError) -> String {
        do {
            guard let bytes = try node.message(name, DataSource.inline) else {
                throw TLSError(.configuration, "\(name) is missing")
            }
            return String(decoding: bytes, as: UTF8.self)
        } catch let error as TLSError {
            throw error
        } catch {
            throw TLSError(.configuration, "\(error)")
        }
    }
}

extension PeerVerification {
    /// An `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
    static func read(_ node: ConfigNode) throws(ConfigError) -> PeerVerification {
        var trust = Trust.nobody
        if let bundle = try node.message("trusted_ca", DataSource.inline) {
            do { trust = .authorities(try Certificate.chain(pem: String(decoding: bundle, as: UTF8.self))) } catch {
                throw node.error("trusted_ca", error.description)
            }
        } else if node.message("system_root_certs") != nil {
            trust = .system
        }
        if let validator = node.message("custom_validator_config") {
            trust = try Self.spiffe(validator)
        }
        var verification = PeerVerification(trust: trust)
        if let list = try node.message("crl", DataSource.inline) {
            do { verification.revocations = try RevocationList.all(pem: String(decoding: list, as: UTF8.self)) } catch {
                throw node.error("crl", error.description)
            }
        }
        verification.checksOnlyLeafRevocation = node.bool("only_verify_leaf_cert_crl")
        verification.maximumDepth = node.uint32IfSet("max_verify_depth").map(Int.init)
        verification.allowsExpired = node.bool("allow_expired_certificate")
        verification.acceptsUntrusted =
            try node.enumeration("trust_chain_verification", as: ChainVerification.self) == .acceptUntrusted
        verification.names = try node.messages("match_typed_subject_alt_names", NameMatcher.read)
        do {
            for text in node.strings("verify_certificate_hash") {
                verification.certificateHashes.append(try certificateHash(hex: text))
            }
            for text in node.strings("verify_certificate_spki") {
                verification.keyHashes.append(try keyHash(base64: text))
            }
        } catch {
            throw node.error(error.description)
        }
        return verification
    }

    private static func spiffe(_ extension: ConfigNode) throws(ConfigError) -> Trust {
        _ = `extension`.string("name")
        guard let node = try `extension`.typed("typed_config") else {
            throw `extension`.error("typed_config", "is missing")
        }
        guard node.typeName == "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig" else {
            throw `extension`.error("typed_config", "validator \(node.typeName) is not supported")
        }
        var domains: [String: [Certificate]] = [:]
        for domain in node.messages("trust_domains") {
            let bundle = try domain.message("trust_bundle", DataSource.inline) ?? []
            do {
                domains[domain.string("name")] = try Certificate.chain(pem: String(decoding: bundle, as: UTF8.self))
            } catch {
                throw domain.error("trust_bundle", error.description)
            }
        }
        return .spiffe(domains)
    }

    private enum ChainVerification: String, ConfigEnum {
        case verify = "VERIFY_TRUST_CHAIN"
        case acceptUntrusted = "ACCEPT_UNTRUSTED"
    }
}

extension NameMatcher {
    /// An `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
    static func read(_ node: ConfigNode) throws(ConfigError) -> NameMatcher {
        let type: NameType =
            switch try node.enumeration("san_type", as: Kind.self) {
            case .email: .email
            case .dns: .dns
            case .uri: .uri
            case .address: .address
            case .other: .other(oid: node.string("oid"))
            }
        guard let matcher = node.message("matcher") else { throw node.error("matcher", "is missing") }
        let text: Text
        switch matcher.choice("match_pattern") {
        case "exact": text = .exact(matcher.string("exact"))
        case "prefix": text = .prefix(matcher.string("prefix"))
        case "suffix": text = .suffix(matcher.string("suffix"))
        case "contains": text = .contains(matcher.string("contains"))
        case "safe_regex":
            guard let regex = try matcher.message("safe_regex", Regex.init(config:)) else {
                throw matcher.error("safe_regex", "is missing")
            }
            text = .expression(regex)
        case let other: throw matcher.error("string match \(other ?? "") is not supported")
        }
        return NameMatcher(type, text, ignoresCase: matcher.bool("ignore_case"))
    }

    private enum Kind: String, ConfigEnum {
        case email = "EMAIL"
        case dns = "DNS"
        case uri = "URI"
        case address = "IP_ADDRESS"
        case other = "OTHER_NAME"
    }
}

extension Regex: NameExpression {
    func matches(_ text: String) -> Bool { StringMatcher(.regex(self)).matches(text) }
}

extension TLSParameters {
    /// An `envoy.extensions.transport_sockets.tls.v3.TlsParameters`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let lowest = try node.enumeration("tls_minimum_protocol_version", as: Version.self)
        let highest = try node.enumeration("tls_maximum_protocol_version", as: Version.self)
        let versions = (lowest.version ?? .v1_2, highest.version ?? .v1_3)
        guard versions.0 <= versions.1 else { throw node.error("the lowest version is above the highest") }
        self.init(
            versions: versions.0...versions.1, cipherSuites: node.strings("cipher_suites"),
            groups: node.strings("ecdh_curves"), signatureAlgorithms: node.strings("signature_algorithms"))
    }

    private enum Version: String, ConfigEnum {
        case auto = "TLS_AUTO"
        case v1_0 = "TLSv1_0"
        case v1_1 = "TLSv1_1"
        case v1_2 = "TLSv1_2"
        case v1_3 = "TLSv1_3"

        var version: TLSVersion? {
            switch self {
            case .auto: nil
            case .v1_0: .v1_0
            case .v1_1: .v1_1
            case .v1_2: .v1_2
            case .v1_3: .v1_3
            }
        }
    }
}
