import Bytes
import Testing

@testable import TLS

@Suite("TLS sessions")
struct TLSSessionTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    @Test("data crosses both ways however the ciphertext is cut", arguments: [1, 7, 100, 5000, Int.max])
    func data(piece: Int) throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust), TLSContext(serving: [fixture.server]))
        try pair.handshake(piece: piece)
        #expect(pair.client.isEstablished && pair.server.isEstablished)
        let text = [UInt8]((0..<40_000).map { UInt8(truncatingIfNeeded: $0) })
        try SessionPair.send(text, from: pair.client)
        try SessionPair.send(Array(text.reversed()), from: pair.server)
        try pair.pump(piece: piece)
        #expect(pair.serverGot == text)
        #expect(pair.clientGot == text.reversed())
        #expect(pair.client.peer.version == "TLSv1.3")
        pair.client.sendClose()
        try pair.pump()
        #expect(pair.server.isPeerClosed)
    }

    @Test("a reader that has enough leaves the rest for later")
    func paused() throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust), TLSContext(serving: [fixture.server]))
        try pair.handshake()
        try SessionPair.send([UInt8](repeating: 1, count: 100_000), from: pair.client)
        var wire: [UInt8] = []
        pair.client.withOutput {
            wire = Array($0)
            return $0.count
        }
        var got = 0
        var rounds = 0
        while got < 100_000 {
            let taken = try wire.withUnsafeBytes { bytes in
                try pair.server.receive(bytes) {
                    got += $0.count
                    return false
                }
            }
            wire.removeFirst(taken)
            rounds += 1
            try #require(rounds < 100)
        }
        #expect(rounds >= 7)
        #expect(wire.isEmpty)
    }

    @Test("the first protocol of the server's list that the client offers is chosen")
    func alpn() throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, protocols: ["http/1.1", "h2"]),
            TLSContext(serving: [fixture.server], protocols: ["h2", "http/1.1"]))
        try pair.handshake()
        #expect(pair.client.negotiatedProtocol == "h2")
        #expect(pair.server.negotiatedProtocol == "h2")
    }

    @Test("no protocol in common ends the handshake on both sides")
    func alpnMismatch() throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, protocols: ["spdy"]),
            TLSContext(serving: [fixture.server], protocols: ["h2"]))
        try pair.client.start()
        #expect(throws: TLSError.self) { try pair.pump() }
    }

    @Test("the certificate is chosen by the name asked for, also by wildcard, else the first is shown")
    func serverName() throws {
        func identity(_ name: String) throws -> TLSIdentity {
            try fixture.authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: name), names: AlternativeNames(dns: [name]),
                    purpose: .server))
        }
        let context = try TLSContext(serving: [fixture.server, identity("b.test"), identity("*.c.test")])
        for (asked, shown) in [("b.test", "b.test"), ("x.c.test", "*.c.test"), ("B.Test", "b.test")] {
            let pair = try SessionPair(TLSContext(connecting: fixture.trust), context, name: asked)
            try pair.handshake()
            #expect(pair.client.peer.chain.first?.subject.commonName == shown)
            #expect(pair.server.peer.serverName == asked)
        }
        let other = try SessionPair(
            TLSContext(connecting: fixture.trust, verification: .trust), context, name: "unknown.test")
        try other.handshake()
        #expect(other.client.peer.chain.first?.subject.commonName == "server")
    }

    @Test("a certificate for another name, from another authority or out of date is refused with a reason")
    func refusals() throws {
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        var expired = CertificateTemplate(
            subject: DistinguishedName(commonName: "old"), names: AlternativeNames(dns: ["a.test"]), purpose: .server)
        expired.notBefore = Timestamp(seconds: 1_000_000_000, nanoseconds: 0)
        expired.notAfter = Timestamp(seconds: 1_100_000_000, nanoseconds: 0)
        let cases: [(TLSIdentity, TrustPool, String, String)] = [
            (fixture.server, fixture.trust, "other.test", "mismatch"),
            (fixture.server, TrustPool([stranger.certificate]), "a.test", "issuer"),
            (try fixture.authority.issue(expired), fixture.trust, "a.test", "expired"),
            (fixture.server, fixture.trust, "10.1.2.3", "mismatch"),
        ]
        for (identity, trust, name, reason) in cases {
            let pair = try SessionPair(TLSContext(connecting: trust), TLSContext(serving: [identity]), name: name)
            try pair.client.start()
            let error = try #require(throws: TLSError.self) { try pair.pump() }
            #expect(error.kind == .untrustedPeer)
            #expect(error.message.contains(reason), "\(error)")
        }
    }

    @Test("an address is checked against the certificate's addresses")
    func address() throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust), TLSContext(serving: [fixture.server]), name: "127.0.0.1")
        try pair.handshake()
        #expect(pair.client.isEstablished)
    }

    @Test(
        "client certificates are ignored, taken or demanded as configured",
        arguments: [TLSContext.ClientCertificates.none, .requested, .required], [true, false])
    func clientCertificates(_ mode: TLSContext.ClientCertificates, _ shows: Bool) throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, identity: shows ? fixture.client : nil),
            TLSContext(serving: [fixture.server], clientCertificates: mode, trust: fixture.trust))
        try pair.client.start()
        if mode == .required, !shows {
            #expect(throws: TLSError.self) { try pair.pump() }
            return
        }
        try pair.pump()
        #expect(pair.server.isEstablished)
        let subject = pair.server.peer.chain.first?.subject
        if mode == .none || !shows {
            #expect(subject == nil)
        } else {
            #expect(subject?.commonName == "alice")
            #expect(subject?.organizations == ["system:masters", "dev"])
        }
    }

    @Test("a client certificate from a stranger is refused even where none is demanded")
    func strangeClient() throws {
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        let identity = try stranger.issue(
            CertificateTemplate(subject: DistinguishedName(commonName: "mallory"), purpose: .client))
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, identity: identity),
            TLSContext(serving: [fixture.server], clientCertificates: .requested, trust: fixture.trust))
        try pair.client.start()
        let error = try #require(throws: TLSError.self) { try pair.pump() }
        #expect(error.kind == .untrustedPeer)
    }

    @Test("a ticket shortens the next handshake, and the client's certificate is still known")
    func resumption() throws {
        let clientContext = try TLSContext(connecting: fixture.trust, identity: fixture.client)
        let serverContext = try TLSContext(
            serving: [fixture.server], clientCertificates: .requested, trust: fixture.trust)
        let first = try SessionPair(clientContext, serverContext)
        try first.handshake()
        try SessionPair.send([1], from: first.server)
        try first.pump()
        let ticket = try #require(first.client.takeTicket())
        let second = try SessionPair(clientContext, serverContext, ticket: ticket)
        try second.handshake()
        #expect(second.server.peer.isResumed)
        #expect(second.server.peer.chain.first?.subject.commonName == "alice")
    }

    @Test("a broken record, plain HTTP and random bytes end a session with an error, never with a trap")
    func garbage() throws {
        let context = try TLSContext(serving: [fixture.server])
        var random = SplitMix64(seed: 7)
        var inputs: [[UInt8]] = [Array("GET / HTTP/1.1\r\nHost: h\r\n\r\n".utf8), [], [0x16, 3, 1, 0xff, 0xff, 1]]
        for _ in 0..<200 {
            inputs.append(
                (0..<Int.random(in: 0..<300, using: &random)).map { _ in .random(in: 0...255, using: &random) })
        }
        for input in inputs {
            let session = try TLSSession(context)
            _ = input.withUnsafeBytes { bytes in try? session.receive(bytes) { _ in true } }
            #expect(!session.isEstablished)
        }
        for index in 0..<120 {
            let pair = try SessionPair(TLSContext(connecting: fixture.trust), context)
            try pair.handshake()
            try SessionPair.send(Array("a secret".utf8), from: pair.client)
            var wire: [UInt8] = []
            pair.client.withOutput {
                wire = Array($0)
                return $0.count
            }
            wire[index % wire.count] ^= UInt8(truncatingIfNeeded: 1 << (index % 8))
            var got = 0
            let count = wire.withUnsafeBytes { bytes in
                try? pair.server.receive(bytes) {
                    got += $0.count
                    return true
                }
            }
            #expect(got == 0)
            // A length that was flipped upwards makes the record look incomplete; everything else is an error.
            if count != nil { #expect(index % wire.count == 3 || index % wire.count == 4) }
        }
    }

    @Test("a context says what is wrong with what it was given")
    func configuration() throws {
        #expect(throws: TLSError.self) { try TLSContext(serving: []) }
        #expect(throws: TLSError.self) { try TLSContext(serving: [fixture.server], clientCertificates: .required) }
        #expect(throws: TLSError.self) { try TLSIdentity(chain: [fixture.server.leaf], key: fixture.client.key) }
        #expect(throws: TLSError.self) { try TLSContext(connecting: nil, protocols: [""]) }
        let error = #expect(throws: TLSError.self) { try PrivateKey(pem: "-----BEGIN nonsense") }
        #expect(error?.message.contains("no usable private key") == true)
    }
}
