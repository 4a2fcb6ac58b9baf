import Bytes
import COpenSSL
import Testing

@testable import TLS

@Suite("Records after the handshake")
struct EstablishedRecordsTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    private func pair(_ server: TLSParameters = TLSParameters()) throws -> SessionPair {
        var configuration = TLSServerConfiguration(
            identities: [fixture.server], verification: PeerVerification(authorities: fixture.trust))
        configuration.parameters = server
        configuration.protocols = ["h2"]
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, identity: fixture.client, protocols: ["h2"]),
            TLSContext(server: configuration))
        try pair.handshake()
        return pair
    }

    @Test("a server of TLS 1.3 goes on by itself and forgets nothing; of TLS 1.2 OpenSSL goes on")
    func takeover() throws {
        let new = try pair()
        #expect(new.server.raw == nil && new.server.records != nil)
        let old = try pair(TLSParameters(versions: .v1_2 ... .v1_2))
        #expect(old.server.raw != nil && old.server.records == nil)
        #expect(new.server.sessionID.count == 64)
        for (pair, version) in [(new, "TLSv1.3"), (old, "TLSv1.2")] {
            let server = pair.server
            #expect(server.version == version)
            #expect(server.serverName == "a.test" && server.negotiatedProtocol == "h2")
            #expect(server.peerCertificate == fixture.client.leaf && server.isPeerTrusted && server.hasPeerCertificate)
            #expect(server.localCertificate == fixture.server.leaf)
            #expect(server.cipherName == pair.client.cipherName)
            #expect(!server.isResumed)
        }
    }

    @Test("a peer that changes its key is followed, and answered when it asks for it", arguments: [1, 3, Int.max])
    func keyUpdate(piece: Int) throws {
        let pair = try pair()
        for round in 0..<5 {
            let kind = round % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED
            let client = try #require(pair.client.raw)
            #expect(SSL_key_update(client, kind) == 1)
            try SessionPair.send(Array("to \(round)".utf8), from: pair.client)
            try pair.pump(piece: piece)
            try SessionPair.send(Array("from \(round)".utf8), from: pair.server)
            try pair.pump(piece: piece)
        }
        #expect(String(decoding: pair.serverGot, as: UTF8.self) == "to 0to 1to 2to 3to 4")
        #expect(String(decoding: pair.clientGot, as: UTF8.self) == "from 0from 1from 2from 3from 4")
    }

    @Test(
        "data of every size crosses under every cipher suite, however it is cut",
        arguments: ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
        [1, 4097, Int.max])
    func suites(name: String, piece: Int) throws {
        let pair = try SessionPair(TLSContext(connecting: fixture.trust), TLSContext(serving: [fixture.server]))
        #expect(SSL_set_ciphersuites(pair.client.raw, name) == 1)
        try pair.handshake(piece: piece)
        #expect(pair.server.records != nil && pair.server.cipherName == name)
        var sent: [UInt8] = []
        for (round, size) in [1, 2, 16383, 16384, 16385, piece == 1 ? 3 : 200_003].enumerated() {
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &+ round) }
            sent += bytes
            if round % 2 == 1 { #expect(SSL_key_update(pair.client.raw, SSL_KEY_UPDATE_REQUESTED) == 1) }
            try SessionPair.send(bytes, from: pair.client)
            try SessionPair.send(bytes, from: pair.server)
            try pair.pump(piece: piece)
        }
        #expect(pair.serverGot == sent && pair.clientGot == sent)
    }

    @Test("the first data comes with the handshake's last flight, also in pieces", arguments: [1, 60, Int.max])
    func firstData(piece: Int) throws {
        let pair = try SessionPair(TLSContext(connecting: fixture.trust), TLSContext(serving: [fixture.server]))
        try pair.client.start()
        // One flight each: then the client is done, and the server has heard nothing of it.
        try SessionPair.step(pair.client, pair.server)
        try SessionPair.step(pair.server, pair.client)
        #expect(pair.client.isEstablished && !pair.server.isEstablished)
        #expect(SSL_key_update(pair.client.raw, SSL_KEY_UPDATE_REQUESTED) == 1)
        try SessionPair.send(Array("early bird".utf8), from: pair.client)
        pair.client.sendClose()
        try pair.pump(piece: piece)
        #expect(String(decoding: pair.serverGot, as: UTF8.self) == "early bird")
        #expect(pair.server.isPeerClosed)
    }

    @Test("a key that has sealed its records is changed, and the client follows")
    func wornKey() throws {
        let pair = try pair()
        let records = try #require(pair.server.records)
        records.recordsOfAKey = 3
        var sent: [UInt8] = []
        for size in [1, 16384 * 10, 5, 5, 5, 5] {
            sent += [UInt8](repeating: UInt8(size & 0xff), count: size)
            try SessionPair.send([UInt8](repeating: UInt8(size & 0xff), count: size), from: pair.server)
            try pair.pump()
        }
        #expect(pair.clientGot == sent)
    }

    @Test("a client that wants small records gets them (RFC 6066 §4)")
    func smallRecords() throws {
        let clientContext = try TLSContext(connecting: fixture.trust)
        #expect(SSL_CTX_set_tlsext_max_fragment_length(clientContext.raw, 1) == 1)
        let pair = try SessionPair(clientContext, TLSContext(serving: [fixture.server]))
        try pair.handshake()
        #expect(pair.server.records != nil)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0) }
        try SessionPair.send(bytes, from: pair.server)
        try SessionPair.send(bytes, from: pair.client)
        try pair.pump()
        #expect(pair.clientGot == bytes && pair.serverGot == bytes)
    }

    @Test("tickets of any number of records are counted, and resume the session", arguments: [false, true])
    func tickets(large: Bool) throws {
        var template = CertificateTemplate(subject: DistinguishedName(commonName: "many names"), purpose: .client)
        template.names.dns = (0..<(large ? 900 : 1)).map { "a-name-that-makes-the-ticket-large-\($0).test" }
        let clientContext = try TLSContext(connecting: fixture.trust, identity: fixture.authority.issue(template))
        let serverContext = try TLSContext(
            serving: [fixture.server], clientCertificates: .required, trust: fixture.trust)
        var ticket: TLSTicket?
        for round in 0..<3 {
            let pair = try SessionPair(clientContext, serverContext, ticket: ticket)
            try pair.handshake()
            #expect(pair.server.records != nil && pair.server.isResumed == (round > 0))
            #expect(pair.server.peerCertificate?.alternativeNames.dns.count == template.names.dns.count)
            #expect(pair.server.isPeerTrusted)
            try SessionPair.send(Array("to".utf8), from: pair.client)
            try SessionPair.send(Array("from".utf8), from: pair.server)
            try pair.pump()
            #expect(pair.serverGot == Array("to".utf8) && pair.clientGot == Array("from".utf8))
            ticket = pair.client.takeTicket()
        }
    }

    @Test("a handshake that begins twice (HelloRetryRequest) is counted right")
    func retried() throws {
        let pair = try pair(TLSParameters(groups: ["P-384"]))
        #expect(pair.server.records != nil)
        try SessionPair.send(Array("to".utf8), from: pair.client)
        try SessionPair.send(Array("from".utf8), from: pair.server)
        try pair.pump()
        #expect(pair.serverGot == Array("to".utf8) && pair.clientGot == Array("from".utf8))
    }

    @Test("without tickets, and with a session that the server keeps, the count is right too", arguments: [0, 10])
    func noTickets(kept: Int) throws {
        var configuration = TLSServerConfiguration(identities: [fixture.server])
        configuration.tickets = .off
        configuration.statefulSessions = kept
        let clientContext = try TLSContext(connecting: fixture.trust)
        let serverContext = try TLSContext(server: configuration)
        var ticket: TLSTicket?
        for round in 0..<2 {
            let pair = try SessionPair(clientContext, serverContext, ticket: ticket)
            try pair.handshake()
            #expect(pair.server.records != nil && pair.server.isResumed == (kept > 0 && round > 0))
            try SessionPair.send([1, 2, 3], from: pair.server)
            try pair.pump()
            #expect(pair.clientGot == [1, 2, 3])
            ticket = pair.client.takeTicket()
            #expect((ticket != nil) == (kept > 0))
        }
    }

    @Test("HKDF-Expand-Label is the standard's (RFC 8448 §3)")
    func labels() throws {
        let secret = try #require(
            Hex.decode("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"))
        let suite = try #require(RecordProtection.Suite(0x1301))
        let known = Secret(count: secret.count) { $0.copyBytes(from: secret) }
        let key = suite.expand(known, "tls13 key", 16).withBytes { Hex.encode($0) }
        let iv = suite.expand(known, "tls13 iv", 12).withBytes { Hex.encode($0) }
        #expect(key == "9f02283b6c9c07efc26bb9f2ac92e356" && iv == "cf782b88dd83549aadf1e984")
    }
}
