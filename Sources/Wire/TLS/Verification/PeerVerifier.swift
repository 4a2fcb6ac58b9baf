import COpenSSL

/// `PeerVerification` made ready for handshakes: stores of authorities, and the checks in Envoy's order (chain, names, pins).
/// Immutable; OpenSSL guards the stores' caches, so loops share it.
final class PeerVerifier: @unchecked Sendable {
    private let rules: PeerVerification
    /// nil when chains are not looked at.
    private let store: TrustStore?
    private let domains: [String: TrustStore]

    init(_ rules: PeerVerification) throws(TLSError) {
        self.rules = rules
        var domains: [String: TrustStore] = [:]
        switch rules.trust {
        case .nobody:
            guard rules.names.isEmpty else {
                throw TLSError(
                    .configuration,
                    "SAN-based verification of peer certificates without trusted CA is insecure and not allowed")
            }
            guard rules.revocations.isEmpty else {
                throw TLSError(.configuration, "Failed to load CRL without trusted CA")
            }
            store = nil
        case .system: store = try TrustStore(system: rules)
        case .authorities(let authorities): store = try TrustStore(authorities, rules)
        case .spiffe(let bundles):
            guard !bundles.isEmpty else { throw TLSError(.configuration, "SPIFFE validation needs a trust domain") }
            for (domain, authorities) in bundles { domains[domain] = try TrustStore(authorities, rules) }
            store = nil
        }
        self.domains = domains
    }

    /// Makes the context ask this verifier. The caller keeps it alive as long as the context.
    func attach(to raw: OpaquePointer, mode: CInt) {
        if let store { SSL_CTX_set1_cert_store(raw, store.raw) }
        SSL_CTX_set_verify(raw, mode, nil)
        SSL_CTX_set_cert_verify_callback(raw, verifyPeer, Unmanaged.passUnretained(self).toOpaque())
    }

    /// The names of authorities that a server sends to its clients.
    var announcedAuthorities: [Certificate] { rules.authorities }

    /// - Returns: whether the handshake goes on.
    fileprivate func verify(_ context: OpaquePointer) -> Bool {
        let session = weft_store_ssl(context)
        let refusal = refusal(context, session)
        guard let refusal else {
            // Where nothing was asked to vouch for the peer it goes on, but not as a trusted one.
            X509_STORE_CTX_set_error(context, vouches ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION)
            return true
        }
        if X509_STORE_CTX_get_error(context) == X509_V_OK {
            X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION)
        }
        if rules.acceptsUntrusted { return true }
        if let ends = weft_ssl_object(session)?.assumingMemoryBound(to: Ends.self) { ends.pointee.refusal = refusal }
        return false
    }

    private func refusal(_ context: OpaquePointer, _ session: OpaquePointer?) -> Refusal? {
        guard let leaf = X509_STORE_CTX_get0_cert(context) else { return Refusal(.noCertificate, "no certificate") }
        if !domains.isEmpty {
            if let refusal = verifySPIFFE(context, leaf, session) { return refusal }
        } else if store != nil, X509_verify_cert(context) != 1 {
            return .chain(context)
        }
        if !rules.names.isEmpty {
            let names = AlternativeNames(reading: leaf)
            guard rules.names.contains(where: { $0.matches(names) }) else {
                X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED)
                return Refusal(.name, "verify cert failed: SAN matcher")
            }
        }
        if rules.enforcesRSAKeyUsage, let key = X509_get0_pubkey(leaf), EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA,
            X509_get_key_usage(leaf) & UInt32(KU_DIGITAL_SIGNATURE) == 0
        {
            X509_STORE_CTX_set_error(context, X509_V_ERR_INVALID_PURPOSE)
            return Refusal(.chain, "KEY_USAGE_BIT_INCORRECT: the certificate's key is not for signatures")
        }
        if rules.hasPins {
            X509_up_ref(leaf)
            let certificate = Certificate(handle: CertificateHandle(owning: leaf))
            guard
                rules.certificateHashes.contains(certificate.fingerprint)
                    || rules.keyHashes.contains(certificate.publicKey.pin)
            else {
                X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED)
                return Refusal(.pin, "verify cert failed: cert hash and spki")
            }
        }
        return nil
    }

    private var vouches: Bool { store != nil || !domains.isEmpty || rules.hasPins }

    /// SPIFFE X.509-SVID §5: a leaf with one SPIFFE URI, signed by its own trust domain.
    private func verifySPIFFE(
        _ context: OpaquePointer, _ leaf: OpaquePointer, _ session: OpaquePointer?
    ) -> Refusal? {
        let identities = AlternativeNames(reading: leaf).uris.filter { $0.hasPrefix("spiffe://") }
        guard identities.count == 1, X509_check_ca(leaf) == 0,
            X509_get_key_usage(leaf) == .max
                || X509_get_key_usage(leaf) & UInt32(KU_KEY_CERT_SIGN | KU_CRL_SIGN) == 0
        else {
            X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED)
            return Refusal(.chain, "verify cert failed: the certificate is not a SPIFFE SVID")
        }
        let domain = identities[0].dropFirst("spiffe://".count).prefix { $0 != "/" }
        guard let store = domains[String(domain)] else {
            X509_STORE_CTX_set_error(context, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY)
            return Refusal(.chain, "verify cert failed: no trust bundle store for trust domain \"\(domain)\"")
        }
        guard let own = X509_STORE_CTX_new() else { return Refusal(.chain, "out of memory") }
        defer { X509_STORE_CTX_free(own) }
        guard X509_STORE_CTX_init(own, store.raw, leaf, X509_STORE_CTX_get0_untrusted(context)) == 1,
            X509_STORE_CTX_set_default(own, SSL_is_server(session) == 1 ? "ssl_client" : "ssl_server") == 1
        else { return Refusal(.chain, "out of memory") }
        guard X509_verify_cert(own) != 1 else { return nil }
        X509_STORE_CTX_set_error(context, X509_STORE_CTX_get_error(own))
        return .chain(own)
    }

    /// Differs between verifiers that do not accept the same peers: sessions are resumed only where it is equal.
    var summary: String {
        var words = rules.authorities.map { String(decoding: $0.fingerprint, as: UTF8.self) }
        words += domains.keys.sorted() + rules.names.map(\.summary)
        words += (rules.certificateHashes + rules.keyHashes).map { String(decoding: $0, as: UTF8.self) }
        words.append(
            "\(rules.acceptsUntrusted) \(rules.allowsExpired) \(rules.checksOnlyLeafRevocation) \(rules.revocations.count)"
                + " \(rules.maximumDepth ?? -1)")
        return words.joined(separator: "\n")
    }
}

/// A check that failed: for counters, and for people.
struct Refusal {
    var kind: PeerRefusal
    var reason: String

    init(_ kind: PeerRefusal, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }

    static func chain(_ context: OpaquePointer) -> Refusal {
        let error = X509_STORE_CTX_get_error(context)
        let isName = error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH
        if isName { return Refusal(.name, "verify cert failed: verify SAN list") }
        return Refusal(
            .chain,
            "verify cert failed: X509_verify_cert: certificate verification error at depth"
                + " \(X509_STORE_CTX_get_error_depth(context)): \(String(cString: X509_verify_cert_error_string(Int(error))))"
        )
    }
}

/// Owns one `X509_STORE`, which is not changed after it is made.
final class TrustStore: @unchecked Sendable {
    let raw: OpaquePointer

    convenience init(_ authorities: [Certificate], _ rules: PeerVerification) throws(TLSError) {
        try self.init(rules)
        for authority in authorities {
            guard X509_STORE_add_cert(raw, authority.handle.raw) == 1 else {
                throw .fromQueue(.configuration, "cannot trust \"\(authority.subject)\"")
            }
        }
        // A pool may name an intermediate without its root: who lists it trusts it.
        X509_STORE_set_flags(raw, UInt(X509_V_FLAG_PARTIAL_CHAIN))
    }

    convenience init(system rules: PeerVerification) throws(TLSError) {
        try self.init(rules)
        guard X509_STORE_set_default_paths(raw) == 1 else {
            throw .fromQueue(.configuration, "cannot read the system's certificate authorities")
        }
    }

    private init(_ rules: PeerVerification) throws(TLSError) {
        guard let raw = X509_STORE_new() else { throw .fromQueue(.library, "cannot hold authorities") }
        self.raw = raw
        for list in rules.revocations {
            guard X509_STORE_add_crl(raw, list.handle.raw) == 1 else {
                throw .fromQueue(.configuration, "cannot use a revocation list")
            }
        }
        if !rules.revocations.isEmpty {
            let leafOnly = rules.checksOnlyLeafRevocation ? 0 : X509_V_FLAG_CRL_CHECK_ALL
            X509_STORE_set_flags(raw, UInt(X509_V_FLAG_CRL_CHECK | leafOnly))
        }
        if let depth = rules.maximumDepth { X509_STORE_set_depth(raw, CInt(clamping: depth)) }
        if rules.allowsExpired { X509_STORE_set_verify_cb(raw, overlookDates) }
    }

    deinit { X509_STORE_free(raw) }
}

private let verifyPeer: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> CInt = { context, argument in
    guard let context, let argument else { return 0 }
    return Unmanaged<PeerVerifier>.fromOpaque(argument)._withUnsafeGuaranteedRef { $0.verify(context) } ? 1 : 0
}

private let overlookDates: @convention(c) (CInt, OpaquePointer?) -> CInt = { isFine, context in
    guard isFine == 0, let context else { return isFine }
    let error = X509_STORE_CTX_get_error(context)
    guard error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID else { return 0 }
    X509_STORE_CTX_set_error(context, X509_V_OK)
    return 1
}
