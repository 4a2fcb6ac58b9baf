import Bytes
import COpenSSL

/// The certificates that a side trusts to sign others.
public struct TrustPool: Sendable {
    public var authorities: [Certificate]

    public init(_ authorities: [Certificate]) { self.authorities = authorities }

    /// A bundle in PEM text.
    public init(pem: String) throws(TLSError) { authorities = try Certificate.chain(pem: pem) }
}

/// What all connections of one kind share: identities, trust, protocols. Make one and keep it; replacing it (for a
/// renewed certificate) leaves the connections that began with the old one alone.
///
/// Immutable after `init` as far as callers can see; OpenSSL guards its session cache, so threads may share it.
public final class TLSContext: @unchecked Sendable {
    /// What a server asks of its clients.
    public enum ClientCertificates: Hashable, Sendable {
        /// Asks for none.
        case none
        /// Asks; a client without one is welcome, one whose certificate is not trusted is refused.
        case requested
        /// Refuses clients without a trusted certificate.
        case required
    }

    public enum Role: Hashable, Sendable { case client, server }

    public let role: Role
    let raw: OpaquePointer
    let wire: ProtocolList
    /// Contexts for other names than the first identity's, by exact name or by `*.` suffix.
    private let named: [String: TLSContext]
    let verifiesName: Bool

    /// A server's side.
    ///
    /// - Parameters:
    ///   - identities: the first is shown to clients that ask for no name or for one that none of them has.
    ///   - trust: who may sign client certificates.
    ///   - protocols: ALPN in order of preference, e.g. `["h2", "http/1.1"]`.
    public init(
        serving identities: [TLSIdentity], clientCertificates: ClientCertificates = .none,
        trust: TrustPool = TrustPool([]), protocols: [String] = []
    ) throws(TLSError) {
        guard let first = identities.first else {
            throw TLSError(.configuration, "a TLS server needs a certificate and its key")
        }
        guard clientCertificates == .none || !trust.authorities.isEmpty else {
            throw TLSError(.configuration, "client certificates are wanted, but no authority to check them by is given")
        }
        // Everything that can throw before `raw` exists comes first, so that a failure leaves nothing behind.
        var named: [String: TLSContext] = [:]
        for identity in identities.dropFirst() {
            let context = try TLSContext(
                serving: [identity], clientCertificates: clientCertificates, trust: trust, protocols: protocols)
            for name in identity.names where named[name] == nil { named[name] = context }
        }
        for name in first.names { named[name] = nil }
        self.named = named
        role = .server
        verifiesName = false
        wire = try ProtocolList(protocols)
        raw = try Self.makeContext(TLS_server_method())

        try present(first)
        if clientCertificates != .none {
            try trustOnly(trust)
            let mode = SSL_VERIFY_PEER | (clientCertificates == .required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0)
            SSL_CTX_set_verify(raw, mode, nil)
            for authority in trust.authorities { SSL_CTX_add_client_CA(raw, authority.handle.raw) }
        }
        // Sessions are resumed by ticket only: no cache, so an idle server holds nothing for clients that left.
        _ = weft_ctx_set_session_cache_mode(raw, Int(SSL_SESS_CACHE_OFF))
        let scope: [UInt8] = Array("weft".utf8)
        SSL_CTX_set_session_id_context(raw, scope, UInt32(scope.count))
        SSL_CTX_set_num_tickets(raw, 1)
        if !protocols.isEmpty {
            SSL_CTX_set_alpn_select_cb(raw, selectProtocol, Unmanaged.passUnretained(wire).toOpaque())
        }
        if !named.isEmpty {
            weft_ctx_on_server_name(raw, selectIdentity, Unmanaged.passUnretained(self).toOpaque())
        }
    }

    /// A client's side.
    ///
    /// - Parameters:
    ///   - trust: who may sign the server's certificate; nil means the system's authorities.
    ///   - identity: shown if the server asks.
    ///   - verification: `.none` accepts any server and is for tests and explicit `insecure` flags only.
    public init(
        connecting trust: TrustPool?, identity: TLSIdentity? = nil, protocols: [String] = [],
        verification: ServerVerification = .nameAndTrust
    ) throws(TLSError) {
        role = .client
        wire = try ProtocolList(protocols)
        named = [:]
        verifiesName = verification == .nameAndTrust
        raw = try Self.makeContext(TLS_client_method())
        if verification != .none {
            if let trust {
                try trustOnly(trust)
            } else if SSL_CTX_set_default_verify_paths(raw) != 1 {
                throw .fromQueue(.configuration, "cannot read the system's certificate authorities")
            }
            SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nil)
        }
        if let identity { try present(identity) }
        if !protocols.isEmpty {
            // Unlike the rest of OpenSSL, this call returns 0 for success.
            let failed = wire.withBytes { SSL_CTX_set_alpn_protos(raw, $0.baseAddress, UInt32($0.count)) }
            guard failed == 0 else { throw .fromQueue(.library, "cannot offer protocols \(protocols)") }
        }
    }

    /// How much a client checks of a server.
    public enum ServerVerification: Hashable, Sendable { case nameAndTrust, trust, none }

    deinit { SSL_CTX_free(raw) }

    func context(named name: String) -> TLSContext? {
        if let exact = named[name] { return exact }
        guard let dot = name.firstIndex(of: ".") else { return nil }
        return named["*" + name[dot...]]
    }

    private static func makeContext(_ method: OpaquePointer?) throws(TLSError) -> OpaquePointer {
        guard let raw = SSL_CTX_new(method) else { throw .fromQueue(.library, "cannot start TLS") }
        guard weft_ctx_set_versions(raw, TLS1_2_VERSION, TLS1_3_VERSION) == 1 else {
            SSL_CTX_free(raw)
            throw .fromQueue(.library, "TLS 1.2 and 1.3 are not both available")
        }
        // Only forward-secret AEAD suites below 1.3; no renegotiation, no compression.
        SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20")
        SSL_CTX_set_options(raw, weft_options)
        weft_ctx_set_mode(raw, weft_mode)
        return raw
    }

    private func present(_ identity: TLSIdentity) throws(TLSError) {
        guard SSL_CTX_use_certificate(raw, identity.leaf.handle.raw) == 1,
            SSL_CTX_use_PrivateKey(raw, identity.key.handle.raw) == 1
        else { throw .fromQueue(.configuration, "cannot use certificate \"\(identity.leaf.subject)\"") }
        for certificate in identity.chain.dropFirst() {
            guard weft_ctx_add_chain(raw, certificate.handle.raw) == 1 else {
                throw .fromQueue(.configuration, "cannot use intermediate \"\(certificate.subject)\"")
            }
        }
    }

    private func trustOnly(_ pool: TrustPool) throws(TLSError) {
        guard let store = X509_STORE_new() else { throw .fromQueue(.library, "cannot hold authorities") }
        SSL_CTX_set_cert_store(raw, store)
        for authority in pool.authorities {
            guard X509_STORE_add_cert(store, authority.handle.raw) == 1 else {
                throw .fromQueue(.configuration, "cannot trust \"\(authority.subject)\"")
            }
        }
        // A pool may name an intermediate without its root: who lists it trusts it.
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
    }
}

/// ALPN names in their wire form: each preceded by its length.
final class ProtocolList: Sendable {
    private let encoded: [UInt8]

    init(_ names: [String]) throws(TLSError) {
        var encoded: [UInt8] = []
        for name in names {
            guard (1...255).contains(name.utf8.count), encoded.count < 4096 else {
                throw TLSError(.configuration, "\"\(name)\" is not a protocol name for ALPN")
            }
            encoded.append(UInt8(name.utf8.count))
            encoded.append(contentsOf: name.utf8)
        }
        self.encoded = encoded
    }

    func withBytes<R>(_ body: (UnsafeBufferPointer<UInt8>) -> R) -> R { encoded.withUnsafeBufferPointer(body) }

    /// Our first name that the client offers too, as a slice of the client's own list (which outlives the callback).
    func choose(from offer: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
        withBytes { ours in
            for mine in LengthPrefixed(ours) {
                for theirs in LengthPrefixed(offer) where theirs.elementsEqual(mine) { return theirs }
            }
            return nil
        }
    }
}

/// Walks strings that are each preceded by one byte of length; stops at the first that is cut short.
private struct LengthPrefixed: Sequence, IteratorProtocol {
    private var rest: UnsafeBufferPointer<UInt8>
    init(_ bytes: UnsafeBufferPointer<UInt8>) { rest = bytes }

    mutating func next() -> UnsafeBufferPointer<UInt8>? {
        guard let first = rest.first, Int(first) < rest.count else { return nil }
        let end = 1 + Int(first)
        defer { rest = UnsafeBufferPointer(rebasing: rest[end...]) }
        return UnsafeBufferPointer(rebasing: rest[1..<end])
    }
}

private let selectProtocol:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
        UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
    ) -> CInt = { _, chosen, chosenLength, offer, offerLength, argument in
        guard let argument, let offer else { return SSL_TLSEXT_ERR_NOACK }
        let list = Unmanaged<ProtocolList>.fromOpaque(argument).takeUnretainedValue()
        guard let name = list.choose(from: UnsafeBufferPointer(start: offer, count: Int(offerLength))) else {
            // RFC 7301 §3.2: no protocol in common ends the handshake.
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        chosen?.pointee = name.baseAddress
        chosenLength?.pointee = UInt8(truncatingIfNeeded: name.count)
        return SSL_TLSEXT_ERR_OK
    }

private let selectIdentity:
    @convention(c) (OpaquePointer?, UnsafeMutablePointer<CInt>?, UnsafeMutableRawPointer?) -> CInt = {
        session, _, argument in
        guard let session, let argument, let name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else {
            return SSL_TLSEXT_ERR_OK
        }
        let context = Unmanaged<TLSContext>.fromOpaque(argument).takeUnretainedValue()
        if let other = context.context(named: String(cString: name).lowercased()) {
            SSL_set_SSL_CTX(session, other.raw)
        }
        return SSL_TLSEXT_ERR_OK
    }

extension TLSIdentity {
    /// The lower-case DNS names its leaf is valid for.
    var names: [String] { leaf.alternativeNames.dns.map { $0.lowercased() } }
}
