import COpenSSL

/// A version of the protocol.
public enum TLSVersion: Int, Hashable, Sendable, Comparable {
    case v1_0 = 0x0301
    case v1_1 = 0x0302
    case v1_2 = 0x0303
    case v1_3 = 0x0304

    public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a.rawValue < b.rawValue }
}

/// Versions, ciphers, groups and signatures that a side is willing to use (`envoy...tls.v3.TlsParameters`).
///
/// Names are those of BoringSSL, which Envoy's configuration speaks; an empty list means the default.
public struct TLSParameters: Hashable, Sendable {
    public var versions: ClosedRange<TLSVersion>
    /// For TLS 1.2 and below; "[A|B]" is a group of equal preference, which is taken in its order. TLS 1.3's suites are fixed.
    public var cipherSuites: [String]
    /// Key exchange: "X25519", "P-256", …
    public var groups: [String]
    /// "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", …
    public var signatureAlgorithms: [String]
    /// The client's order of ciphers counts, not ours.
    public var prefersClientCiphers: Bool

    public init(
        versions: ClosedRange<TLSVersion> = .v1_2 ... .v1_3, cipherSuites: [String] = [], groups: [String] = [],
        signatureAlgorithms: [String] = [], prefersClientCiphers: Bool = false
    ) {
        self.versions = versions
        self.cipherSuites = cipherSuites
        self.groups = groups
        self.signatureAlgorithms = signatureAlgorithms
        self.prefersClientCiphers = prefersClientCiphers
    }

    /// Envoy's: forward secret and authenticated ciphers only, the cheap ones first.
    static let defaultCipherSuites = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    ]
    /// TLS 1.3's, in BoringSSL's order.
    private static let suites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

    /// - Throws: naming the ciphers, groups or algorithms that are not known.
    func apply(to raw: OpaquePointer) throws(TLSError) {
        guard
            weft_ctx_set_versions(raw, CInt(versions.lowerBound.rawValue), CInt(versions.upperBound.rawValue)) == 1
        else { throw .fromQueue(.library, "TLS versions \(versions) are not available") }
        // The old versions sign with SHA-1, which Debian's default level of security has switched off.
        if versions.lowerBound < .v1_2 { SSL_CTX_set_security_level(raw, 0) }
        SSL_CTX_set_options(raw, weft_options)
        if !prefersClientCiphers { SSL_CTX_set_options(raw, weft_option_server_order) }

        let names = cipherSuites.isEmpty ? Self.defaultCipherSuites : cipherSuites.flatMap(Self.flattened)
        let unknown = names.filter {
            SSL_CTX_set_cipher_list(raw, Self.openSSLName($0)) != 1 || $0.hasPrefix("TLS_AES")
        }
        ERR_clear_error()
        guard unknown.isEmpty, SSL_CTX_set_cipher_list(raw, names.map(Self.openSSLName).joined(separator: ":")) == 1
        else {
            throw TLSError(
                .configuration,
                "Failed to initialize cipher suites \(cipherSuites.joined(separator: ":"))."
                    + " The following ciphers were rejected when tried individually: \(unknown.joined(separator: ", "))"
            )
        }
        SSL_CTX_set_ciphersuites(raw, Self.suites13)
        try applyList(groups, "ECDH curves") { weft_ctx_set_groups(raw, $0) }
        try applyList(signatureAlgorithms, "TLS signature algorithms") { weft_ctx_set_signature_algorithms(raw, $0) }
    }

    private func applyList(_ names: [String], _ what: String, _ set: (String) -> CInt) throws(TLSError) {
        guard !names.isEmpty else { return }
        let unknown = names.filter { set($0) != 1 }
        ERR_clear_error()
        guard unknown.isEmpty, set(names.joined(separator: ":")) == 1 else {
            throw TLSError(
                .configuration, "Failed to initialize \(what) \(names.joined(separator: ":")): \(unknown) not known")
        }
    }

    /// "[A|B]" as A and B.
    private static func flattened(_ entry: String) -> [String] {
        guard entry.hasPrefix("["), entry.hasSuffix("]") else { return [entry] }
        return entry.dropFirst().dropLast().split(separator: "|").map(String.init)
    }

    /// BoringSSL takes the standard's names as well as OpenSSL's old ones.
    private static func openSSLName(_ name: String) -> String { OpenSSLCipherNames.byStandardName[name] ?? name }
}

/// IANA's names of the ciphers below TLS 1.3 that OpenSSL knows under another one.
private enum OpenSSLCipherNames {
    static let byStandardName: [String: String] = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    ]
}
