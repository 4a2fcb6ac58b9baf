import Bytes

/// What a peer's certificate must be (`CertificateValidationContext`).
public struct PeerVerification: Sendable {
    public enum Trust: Sendable {
        /// No authority is asked; only pins can vouch for the peer.
        case nobody
        case authorities([Certificate])
        /// What the operating system trusts.
        case system
        /// Authorities by SPIFFE trust domain: a peer is checked by those of the domain that its URI names.
        case spiffe([String: [Certificate]])
    }

    public var trust: Trust
    public var revocations: [RevocationList] = []
    /// Authorities' own certificates are not looked for in revocation lists.
    public var checksOnlyLeafRevocation = false
    /// Intermediates allowed between leaf and authority; nil: OpenSSL's hundred.
    public var maximumDepth: Int?
    public var allowsExpired = false
    /// `ACCEPT_UNTRUSTED`: the connection goes on whatever is found; `TLSSession.Peer.isTrusted` tells.
    public var acceptsUntrusted = false
    /// One of these must match, if there are any.
    public var names: [NameMatcher] = []
    /// SHA-256 of the whole certificate. Of these and `keyHashes` one must match, if there are any.
    public var certificateHashes: [[UInt8]] = []
    /// SHA-256 of the public key in its DER form.
    public var keyHashes: [[UInt8]] = []
    /// `enforce_rsa_key_usage`: an RSA certificate that says what its key is for must say "digital signature".
    public var enforcesRSAKeyUsage = false

    public init(trust: Trust) { self.trust = trust }

    public init(authorities: TrustPool) { self.init(trust: .authorities(authorities.authorities)) }

    /// Pins for `certificateHashes` from text: hex, with or without colons.
    public static func certificateHash(hex: String) throws(TLSError) -> [UInt8] {
        guard let hash = Hex.decode(hex.filter { $0 != ":" }), hash.count == 32 else {
            throw TLSError(.configuration, "Invalid hex-encoded SHA-256 \(hex)")
        }
        return hash
    }

    /// Pins for `keyHashes` from text: base64.
    public static func keyHash(base64: String) throws(TLSError) -> [UInt8] {
        guard let hash = Base64.decode(base64), hash.count == 32 else {
            throw TLSError(.configuration, "Invalid base64-encoded SHA-256 \(base64)")
        }
        return hash
    }

    var hasPins: Bool { !certificateHashes.isEmpty || !keyHashes.isEmpty }

    /// The authorities that are configured, in no order that matters.
    var authorities: [Certificate] {
        switch trust {
        case .nobody, .system: []
        case .authorities(let list): list
        case .spiffe(let domains): domains.keys.sorted().flatMap { domains[$0] ?? [] }
        }
    }
}

/// Why a peer was not let in: what proxies count.
public enum PeerRefusal: String, Hashable, Sendable {
    /// It showed no certificate where one is demanded. Envoy: `fail_verify_no_cert`.
    case noCertificate
    /// The chain does not lead to an authority, is out of date, revoked or malformed. Envoy: `fail_verify_error`.
    case chain
    /// None of the names fits. Envoy: `fail_verify_san`.
    case name
    /// None of the pins fits. Envoy: `fail_verify_cert_hash`.
    case pin
}
