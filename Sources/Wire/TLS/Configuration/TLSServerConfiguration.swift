/// What a server's side of TLS is made from (`DownstreamTlsContext`). A value; `TLSContext(server:)` checks it.
public struct TLSServerConfiguration: Sendable {
    /// What happens to a client whose protocols are none of ours.
    public enum ProtocolMismatch: Hashable, Sendable {
        /// RFC 7301 §3.2: the handshake ends.
        case refuse
        /// As Envoy does: the connection goes on without a protocol.
        case proceed
    }

    /// How sessions are resumed without state of ours (RFC 5077, RFC 8446 §2.2).
    public enum Tickets: Sendable {
        case off
        /// Sealed with keys that this context makes for itself.
        case ownKeys
        case keys(SessionTicketKeys)
    }

    /// The first is shown to clients that ask for a name that none of them has. Of several for one name (or for a client
    /// that asks for none) that one is shown whose kind of key the client takes, ECDSA before RSA.
    public var identities: [TLSIdentity]
    public var parameters = TLSParameters()
    /// ALPN, in order of preference.
    public var protocols: [String] = []
    public var protocolMismatch = ProtocolMismatch.proceed
    public var clientCertificates: TLSContext.ClientCertificates
    /// nil: clients are not verified.
    public var verification: PeerVerification?
    /// Clients are told which authorities they may choose a certificate of.
    public var announcesAuthorities = true
    public var tickets = Tickets.ownKeys
    /// Sessions kept for clients that take no tickets (TLS 1.2 only); 0: none.
    public var statefulSessions = TLSServerConfiguration.defaultStatefulSessions
    /// Seconds that a session may be resumed; nil: OpenSSL's two hours.
    public var sessionLifetime: Int?
    /// A client that asks for an unknown name is offered all identities by kind of key, not the first one's alone.
    public var offersAllOnNameMismatch = false
    /// Called with each line for a key log (NSS format), on the loop of the session.
    public var keyLog: (@Sendable (String) -> Void)?

    /// Some hundred bytes each; what is pushed out is only not resumed.
    public static let defaultStatefulSessions = 1024

    /// - Parameter requiresClientCertificate: with pins it is implied, as in Envoy.
    public init(
        identities: [TLSIdentity], verification: PeerVerification? = nil, requiresClientCertificate: Bool = false
    ) {
        self.identities = identities
        self.verification = verification
        if requiresClientCertificate || verification?.hasPins == true {
            clientCertificates = .required
        } else if let verification, case .nobody = verification.trust {
            clientCertificates = .none
        } else {
            clientCertificates = verification == nil ? .none : .requested
        }
    }
}

/// What a client's side of TLS is made from (`UpstreamTlsContext`). Renegotiation is refused always.
public struct TLSClientConfiguration: Sendable {
    /// Shown to servers that ask.
    public var identity: TLSIdentity?
    public var parameters = TLSParameters()
    public var protocols: [String] = []
    /// nil: any server is taken.
    public var verification: PeerVerification?
    /// The name that a session is given must be one of the certificate's (`auto_sni_san_validation`).
    public var checksServerName = false
    /// Tickets kept for resumption (`max_session_keys`); 0: none.
    public var storedTickets = 0
    /// Called with each line for a key log (NSS format), on the loop of the session.
    public var keyLog: (@Sendable (String) -> Void)?

    public init(verification: PeerVerification?, checksServerName: Bool = false) {
        self.verification = verification
        self.checksServerName = checksServerName
    }
}
