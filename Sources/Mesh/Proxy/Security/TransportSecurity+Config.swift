import TLS
import XDS

extension DownstreamSecurity {
    /// The transport socket of a filter chain; nil for plaintext.
    static func read(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) -> DownstreamSecurity? {
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "transport socket \"\(node.string("name"))\" has no configuration")
        }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": return nil
        case "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext":
            return DownstreamSecurity(
                context: try LiveTLSContext(.downstream, config, context),
                requiresServerName: config.bool("require_sni", default: false))
        default: throw node.error("typed_config", "transport socket \(config.typeName) is not supported")
        }
    }

    /// An `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`, as far as its secrets are there.
    static func configuration(
        _ node: ConfigNode, _ ingredients: TLSIngredients
    ) throws(ConfigError) -> TLSServerConfiguration {
        guard let common = node.message("common_tls_context") else {
            throw node.error("common_tls_context", "is missing")
        }
        let parts = try CommonSecurity(common, ingredients)
        guard !parts.identities.isEmpty || !ingredients.needs.missing.isEmpty else {
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
            if let keys = node.message("session_ticket_keys") {
                configuration.tickets = .keys(try ticketKeys(keys, ingredients))
            }
        case "session_ticket_keys_sds_secret_config":
            if let config = node.message("session_ticket_keys_sds_secret_config"),
                let secret = try ingredients.secret(config)
            {
                guard let keys = secret.message("session_ticket_keys") else {
                    throw secret.error("has no session_ticket_keys")
                }
                configuration.tickets = .keys(try ticketKeys(keys, ingredients))
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
        return configuration
    }

    private static func ticketKeys(
        _ node: ConfigNode, _ ingredients: TLSIngredients
    ) throws(ConfigError) -> SessionTicketKeys {
        let keys = try node.messages("keys") { (key) throws(ConfigError) in try ingredients.data(key) }
        do { return try SessionTicketKeys(keys) } catch { throw node.error("keys", error.description) }
    }

    private enum StaplePolicy: String, ConfigEnum {
        case lenient = "LENIENT_STAPLING"
        case strict = "STRICT_STAPLING"
        case must = "MUST_STAPLE"
    }
}

extension UpstreamSecurity {
    /// The transport socket of a cluster; nil for plaintext. `protocols` are what ALPN offers where the context says nothing.
    static func read(
        _ node: ConfigNode, protocols: [String], _ context: BuildContext
    ) throws(ConfigError) -> UpstreamSecurity? {
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "transport socket \"\(node.string("name"))\" has no configuration")
        }
        _ = node.string("name")
        switch config.typeName {
        case "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": return nil
        case "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext":
            return UpstreamSecurity(
                context: try LiveTLSContext(.upstream(protocols: protocols), config, context),
                serverName: config.string("sni"), usesHostname: config.bool("auto_host_sni"),
                namesProtocols: config.has("alpn_protocols", in: "common_tls_context"))
        default: throw node.error("typed_config", "transport socket \(config.typeName) is not supported")
        }
    }

    /// An `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`, as far as its secrets are there.
    static func configuration(
        _ node: ConfigNode, _ ingredients: TLSIngredients, protocols: [String]
    ) throws(ConfigError) -> TLSClientConfiguration {
        let parts =
            try node.message("common_tls_context") { (node) throws(ConfigError) in
                try CommonSecurity(node, ingredients)
            } ?? CommonSecurity()
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
        return configuration
    }
}

extension UpstreamTransport {
    /// The transport socket of a cluster, or one of its matches. `protocols` are what ALPN offers where TLS says nothing.
    init(_ socket: ConfigNode, protocols: [String], _ context: BuildContext) throws(ConfigError) {
        let type = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
        guard socket.typeNameOfAny("typed_config") == type, let node = try socket.typed("typed_config") else {
            security = try UpstreamSecurity.read(socket, protocols: protocols, context)
            return
        }
        _ = socket.string("name")
        let version = try node.message("config") { (config) throws(ConfigError) in
            try config.enumeration("version", as: ProxyProtocolVersion.self)
        }
        proxyProtocol = version == .v2 ? .v2 : .v1
        guard let inner = node.message("transport_socket") else { throw node.error("transport_socket", "is missing") }
        security = try UpstreamSecurity.read(inner, protocols: protocols, context)
    }

    private enum ProxyProtocolVersion: String, ConfigEnum {
        case v1 = "V1"
        case v2 = "V2"
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

    init(_ node: ConfigNode, _ ingredients: TLSIngredients) throws(ConfigError) {
        identities = try node.messages("tls_certificates") { (node) throws(ConfigError) in
            try TLSIdentity.read(node, ingredients)
        }
        for config in node.messages("tls_certificate_sds_secret_configs") {
            guard let secret = try ingredients.secret(config) else { continue }
            guard let certificate = secret.message("tls_certificate") else {
                throw secret.error("has no tls_certificate")
            }
            identities.append(try TLSIdentity.read(certificate, ingredients))
        }
        switch node.choice("validation_context_type") {
        case "validation_context":
            if let context = node.message("validation_context") { try verify(context, ingredients) }
        case "validation_context_sds_secret_config":
            if let config = node.message("validation_context_sds_secret_config"),
                let secret = try ingredients.secret(config)
            {
                try verify(try Self.validation(secret), ingredients)
            }
        case "combined_validation_context":
            guard let combined = node.message("combined_validation_context") else { break }
            guard let config = combined.message("validation_context_sds_secret_config") else {
                throw combined.error("validation_context_sds_secret_config", "is missing")
            }
            if let secret = try ingredients.secret(config) {
                let validation = try Self.validation(secret)
                if let context = combined.message("default_validation_context", under: validation.message) {
                    try verify(context, ingredients)
                    // What the merged one was read for is read of both.
                    _ = try PeerVerification.read(validation, ingredients)
                    _ = validation.bool("suppress_client_ca_list")
                }
            }
            // Also what nothing is to be verified against yet must be right.
            if let own = combined.message("default_validation_context") {
                _ = try PeerVerification.read(own, ingredients)
                _ = own.bool("suppress_client_ca_list")
            }
        case nil: break
        case let other: throw node.error("\(other ?? "") is not supported")
        }
        if let parameters = try node.message("tls_params", TLSParameters.init) { self.parameters = parameters }
        protocols = node.strings("alpn_protocols")
    }

    private mutating func verify(_ context: ConfigNode, _ ingredients: TLSIngredients) throws(ConfigError) {
        verification = try PeerVerification.read(context, ingredients)
        announcesAuthorities = !context.bool("suppress_client_ca_list")
    }

    private static func validation(_ secret: ConfigNode) throws(ConfigError) -> ConfigNode {
        guard let context = secret.message("validation_context") else {
            throw secret.error("has no validation_context")
        }
        return context
    }
}

extension TLSIdentity {
    /// An `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`.
    static func read(_ node: ConfigNode, _ ingredients: TLSIngredients) throws(ConfigError) -> TLSIdentity {
        ingredients.watch(node.message("watched_directory"))
        func text(_ name: String) throws(ConfigError) -> String? {
            guard let source = node.message(name) else { return nil }
            return try ingredients.text(source)
        }
        let password = try text("password")
        if let source = node.message("pkcs12") {
            let archive = try ingredients.data(source)
            do { return try TLSIdentity(pkcs12: archive, password: password ?? "") } catch {
                throw node.error(error.description)
            }
        }
        guard let chain = try text("certificate_chain") else { throw node.error("certificate_chain is missing") }
        guard let key = try text("private_key") else { throw node.error("private_key is missing") }
        do { return try TLSIdentity(certificatePEM: chain, keyPEM: key, password: password) } catch {
            throw node.error(error.description)
        }
    }
}

extension PeerVerification {
    /// An `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
    static func read(_ node: ConfigNode, _ ingredients: TLSIngredients) throws(ConfigError) -> PeerVerification {
        ingredients.watch(node.message("watched_directory"))
        var trust = Trust.nobody
        if let source = node.message("trusted_ca") {
            let bundle = try ingredients.text(source)
            do { trust = .authorities(try Certificate.chain(pem: bundle)) } catch {
                throw node.error("trusted_ca", error.description)
            }
        } else if node.message("system_root_certs") != nil {
            trust = .system
        }
        if let validator = node.message("custom_validator_config") {
            trust = try Self.spiffe(validator, ingredients)
        }
        var verification = PeerVerification(trust: trust)
        if let source = node.message("crl") {
            let list = try ingredients.text(source)
            do { verification.revocations = try RevocationList.all(pem: list) } catch {
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

    private static func spiffe(
        _ extension: ConfigNode, _ ingredients: TLSIngredients
    ) throws(ConfigError) -> Trust {
        _ = `extension`.string("name")
        guard let node = try `extension`.typed("typed_config") else {
            throw `extension`.error("typed_config", "is missing")
        }
        guard node.typeName == "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig" else {
            throw `extension`.error("typed_config", "validator \(node.typeName) is not supported")
        }
        var domains: [String: [Certificate]] = [:]
        for domain in node.messages("trust_domains") {
            let bundle = try domain.message("trust_bundle") { (node) throws(ConfigError) in
                try ingredients.text(node)
            }
            do {
                domains[domain.string("name")] = try Certificate.chain(pem: bundle ?? "")
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
