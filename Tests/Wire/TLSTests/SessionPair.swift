import Testing

@testable import TLS

/// Two sessions joined in memory, moved by hand.
final class SessionPair {
    let client: TLSSession
    let server: TLSSession
    var clientGot: [UInt8] = []
    var serverGot: [UInt8] = []

    init(_ clientContext: TLSContext, _ serverContext: TLSContext, name: String? = "a.test", ticket: TLSTicket? = nil)
        throws
    {
        client = try TLSSession(clientContext, serverName: name, resuming: ticket)
        server = try TLSSession(serverContext)
    }

    /// Carries ciphertext both ways, in pieces of at most `piece` bytes, until neither side has more to say.
    func pump(piece: Int = .max) throws {
        while client.hasOutput || server.hasOutput {
            try Self.move(client, server, piece) { serverGot += $0 }
            try Self.move(server, client, piece) { clientGot += $0 }
        }
    }

    /// Carries ciphertext both ways until neither side has more to say; what is opened is dropped.
    static func carry(_ client: TLSSession, _ server: TLSSession) throws {
        while client.hasOutput || server.hasOutput {
            try move(client, server, .max) { _ in }
            try move(server, client, .max) { _ in }
        }
    }

    /// Carries what one side has to say now.
    static func step(_ from: TLSSession, _ to: TLSSession) throws { try move(from, to, .max) { _ in } }

    private static func move(
        _ from: TLSSession, _ to: TLSSession, _ piece: Int, _ got: ([UInt8]) -> Void
    ) throws {
        var wire: [UInt8] = []
        from.withOutput { bytes in
            let count = min(piece, bytes.count)
            wire = Array(bytes[..<count])
            return count
        }
        guard !wire.isEmpty else { return }
        let taken = try wire.withUnsafeBytes { bytes in
            try to.receive(bytes) {
                got(Array($0))
                return true
            }
        }
        #expect(taken == wire.count)
    }

    func handshake(piece: Int = .max) throws {
        try client.start()
        try pump(piece: piece)
    }

    static func send(_ bytes: [UInt8], from session: TLSSession) throws {
        #expect(try bytes.withUnsafeBytes { try session.send($0) } == bytes.count)
    }
}

/// One authority and what it vouches for, made once for all tests of this target.
struct Fixture: Sendable {
    let authority: CertificateAuthority
    let server: TLSIdentity
    let client: TLSIdentity

    static let shared: Result<Fixture, any Error> = Result {
        let authority = try CertificateAuthority.create(commonName: "test authority")
        return try Fixture(
            authority: authority,
            server: authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "server"),
                    names: AlternativeNames(dns: ["a.test", "*.wild.test"], addresses: [.loopbackV4, .loopbackV6]),
                    purpose: .server)),
            client: authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "alice", organizations: ["system:masters", "dev"]),
                    purpose: .client)))
    }

    var trust: TrustPool { TrustPool([authority.certificate]) }
}
