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

    /// How much a client checks of a server.
    public enum ServerVerification: Hashable, Sendable { case nameAndTrust, trust, none }

    public enum Role: Hashable, Sendable { case client, server }

    public let role: Role
    let raw: OpaquePointer
    let protocols: ProtocolList
    let verifiesName: Bool
    let ticketKeys: SessionTicketKeys?
    let tickets: TicketCache?
    let keyLog: (@Sendable (String) -> Void)?
    private let verifier: PeerVerifier?
    /// For names that want other certificates than this context shows.
    private let choice: IdentityChoice

    // MARK: A server's side

    public convenience init(server configuration: TLSServerConfiguration) throws(TLSError) {
        guard !configuration.identities.isEmpty else {
            throw TLSError(.configuration, "a TLS server needs a certificate and its key")
        }
        let verifier = try PeerVerifier(configuration.verification ?? PeerVerification(trust: .nobody))
        try self.init(configuration, verifier, showing: nil)
    }

    /// - Parameter identities: of those in the configuration, the ones to show; nil: chosen by the name asked for.
    private init(
        _ configuration: TLSServerConfiguration, _ verifier: PeerVerifier, showing identities: [TLSIdentity]?
    ) throws(TLSError) {
        // Everything that can throw before `raw` exists comes first, so that a failure leaves nothing behind.
        let groups = IdentityGroups(configuration.identities)
        choice =
            if identities == nil {
                try IdentityChoice(groups, offersAll: configuration.offersAllOnNameMismatch) {
                    (identities) throws(TLSError) in
                    try TLSContext(configuration, verifier, showing: identities)
                }
            } else { IdentityChoice() }
        role = .server
        verifiesName = false
        self.verifier = verifier
        protocols = try ProtocolList(configuration.protocols, mismatch: configuration.protocolMismatch)
        keyLog = configuration.keyLog
        tickets = nil
        ticketKeys = if case .keys(let keys) = configuration.tickets { keys } else { nil }
        raw = try Self.makeContext(TLS_server_method())

        try configuration.parameters.apply(to: raw)
        for identity in identities ?? groups.oneOfEachKind { try present(identity) }
        if configuration.clientCertificates != .none {
            let must = configuration.clientCertificates == .required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
            verifier.attach(to: raw, mode: SSL_VERIFY_PEER | must)
            for authority in verifier.announcedAuthorities where configuration.announcesAuthorities {
                SSL_CTX_add_client_CA(raw, authority.handle.raw)
            }
        }
        setResumption(configuration, scope: Self.scope(configuration, verifier))
        if !configuration.protocols.isEmpty {
            SSL_CTX_set_alpn_select_cb(raw, selectProtocol, Unmanaged.passUnretained(protocols).toOpaque())
        }
        if !choice.isEmpty { weft_ctx_on_server_name(raw, selectIdentity, Unmanaged.passUnretained(self).toOpaque()) }
        attach()
    }

    private func setResumption(_ configuration: TLSServerConfiguration, scope: [UInt8]) {
        SSL_CTX_set_session_id_context(raw, scope, UInt32(scope.count))
        if let lifetime = configuration.sessionLifetime { SSL_CTX_set_timeout(raw, lifetime) }
        let isStateful = configuration.statefulSessions > 0
        _ = weft_ctx_set_session_cache_mode(raw, Int(isStateful ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF))
        if isStateful { weft_ctx_set_session_cache_size(raw, configuration.statefulSessions) }
        switch configuration.tickets {
        case .off:
            // Without tickets TLS 1.3 would hand out names of cached sessions instead.
            SSL_CTX_set_options(raw, weft_option_no_ticket)
            SSL_CTX_set_num_tickets(raw, isStateful ? 1 : 0)
        case .ownKeys: SSL_CTX_set_num_tickets(raw, 1)
        case .keys(let keys):
            SSL_CTX_set_num_tickets(raw, 1)
            keys.attach(to: raw)
        }
    }

    /// Sessions are resumed only where the client would be let in again: under equal rules, at a server of equal names.
    private static func scope(_ configuration: TLSServerConfiguration, _ verifier: PeerVerifier) -> [UInt8] {
        var words = configuration.identities.map { identity in identity.names.joined(separator: ",") }
        words += [verifier.summary, "\(configuration.clientCertificates)"] + configuration.protocols
        return Digest.sha256(words.joined(separator: "\n").utf8)
    }

    /// A server's side with the usual parameters.
    ///
    /// - Parameters:
    ///   - identities: the first is shown to clients that ask for no name or for one that none of them has.
    ///   - trust: who may sign client certificates.
    ///   - protocols: ALPN in order of preference, e.g. `["h2", "http/1.1"]`; none in common ends the handshake.
    public convenience init(
        serving identities: [TLSIdentity], clientCertificates: ClientCertificates = .none,
        trust: TrustPool = TrustPool([]), protocols: [String] = []
    ) throws(TLSError) {
        guard clientCertificates == .none || !trust.authorities.isEmpty else {
            throw TLSError(.configuration, "client certificates are wanted, but no authority to check them by is given")
        }
        var configuration = TLSServerConfiguration(
            identities: identities,
            verification: clientCertificates == .none ? nil : PeerVerification(authorities: trust))
        configuration.clientCertificates = clientCertificates
        configuration.protocols = protocols
        configuration.protocolMismatch = .refuse
        // Sessions are resumed by ticket only: no cache, so an idle server holds nothing for clients that left.
        configuration.statefulSessions = 0
        try self.init(server: configuration)
    }

    // MARK: A client's side

    public init(client configuration: TLSClientConfiguration) throws(TLSError) {
        role = .client
        protocols = try ProtocolList(configuration.protocols, mismatch: .proceed)
        choice = IdentityChoice()
        verifiesName = configuration.checksServerName
        verifier = if let verification = configuration.verification { try PeerVerifier(verification) } else { nil }
        tickets = configuration.storedTickets > 0 ? TicketCache(capacity: configuration.storedTickets) : nil
        ticketKeys = nil
        keyLog = configuration.keyLog
        raw = try Self.makeContext(TLS_client_method())

        try configuration.parameters.apply(to: raw)
        verifier?.attach(to: raw, mode: SSL_VERIFY_PEER)
        if let identity = configuration.identity { try present(identity) }
        if !configuration.protocols.isEmpty {
            // Unlike the rest of OpenSSL, this call returns 0 for success.
            let failed = protocols.withBytes { SSL_CTX_set_alpn_protos(raw, $0.baseAddress, UInt32($0.count)) }
            guard failed == 0 else {
                throw .fromQueue(.library, "cannot offer protocols \(configuration.protocols)")
            }
        }
        if tickets != nil {
            _ = weft_ctx_set_session_cache_mode(raw, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
            SSL_CTX_sess_set_new_cb(raw, keepTicket)
        }
        attach()
    }

    /// A client's side with the usual parameters.
    ///
    /// - Parameters:
    ///   - trust: who may sign the server's certificate; nil means the system's authorities.
    ///   - identity: shown if the server asks.
    ///   - verification: `.none` accepts any server and is for tests and explicit `insecure` flags only.
    public convenience init(
        connecting trust: TrustPool?, identity: TLSIdentity? = nil, protocols: [String] = [],
        verification: ServerVerification = .nameAndTrust
    ) throws(TLSError) {
        let rules = PeerVerification(trust: trust.map { .authorities($0.authorities) } ?? .system)
        var configuration = TLSClientConfiguration(
            verification: verification == .none ? nil : rules, checksServerName: verification == .nameAndTrust)
        configuration.identity = identity
        configuration.protocols = protocols
        try self.init(client: configuration)
    }

    deinit { SSL_CTX_free(raw) }

    // MARK: Both sides

    private static func makeContext(_ method: OpaquePointer?) throws(TLSError) -> OpaquePointer {
        guard let raw = SSL_CTX_new_ex(nil, KeySchedule.query, method) else {
            throw .fromQueue(.library, "cannot start TLS")
        }
        weft_ctx_set_mode(raw, weft_mode)
        return raw
    }

    /// Lets OpenSSL's callbacks find this object; it outlives every session, which all hold it.
    private func attach() {
        weft_ctx_set_object(raw, Unmanaged.passUnretained(self).toOpaque())
        if keyLog != nil { SSL_CTX_set_keylog_callback(raw, logKey) }
    }

    /// Each kind of key has a place of its own in the context.
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

    func context(named name: String) -> TLSContext? { choice.context(named: name) }
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

private let logKey: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?) -> Void = { session, line in
    guard let session, let line, let object = weft_ssl_context_object(session),
        let ends = weft_ssl_object(session)?.assumingMemoryBound(to: Ends.self), ends.pointee.logsKeys
    else { return }
    Unmanaged<TLSContext>.fromOpaque(object).takeUnretainedValue().keyLog?(String(cString: line))
}
