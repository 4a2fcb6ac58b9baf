import Bytes
import Testing

@testable import TLS

@Suite("TLS servers")
struct TLSServerConfigurationTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    private func identity(_ names: [String], rsa: Bool = false, commonName: String? = nil) throws -> TLSIdentity {
        let key = try PrivateKey.generate(rsa ? .rsa(bits: 2048) : .p256)
        let template = CertificateTemplate(
            subject: DistinguishedName(commonName: commonName ?? "\(rsa ? "rsa" : "ecdsa") \(names.first ?? "")"),
            names: AlternativeNames(dns: names), purpose: .server)
        return try TLSIdentity(chain: [fixture.authority.issue(template, for: key.publicKey)], key: key)
    }

    private func shown(
        _ server: TLSContext, _ name: String?, _ parameters: TLSParameters = TLSParameters()
    ) throws -> String? {
        var client = TLSClientConfiguration(verification: PeerVerification(authorities: fixture.trust))
        client.parameters = parameters
        let pair = try SessionPair(TLSContext(client: client), server, name: name)
        try pair.handshake()
        #expect(pair.server.localCertificate == pair.client.peerCertificate)
        return pair.client.peerCertificate?.subject.commonName
    }

    @Test("the certificate is chosen by name, exact before wildcard, and by the kinds of key that the client takes")
    func identities() throws {
        let onlyRSA = TLSParameters(signatureAlgorithms: ["rsa_pss_rsae_sha256"])
        let onlyECDSA = TLSParameters(signatureAlgorithms: ["ecdsa_secp256r1_sha256"])
        var configuration = TLSServerConfiguration(identities: [
            try identity(["a.test"], rsa: true), try identity(["a.test"]), try identity(["*.b.test"], rsa: true),
            try identity(["x.b.test"]), try identity([], rsa: true, commonName: "plain.test"),
        ])
        let server = try TLSContext(server: configuration)
        for (name, parameters, expected) in [
            ("a.test", TLSParameters(), "ecdsa a.test"), ("a.test", onlyRSA, "rsa a.test"),
            ("a.test", onlyECDSA, "ecdsa a.test"),
            ("y.b.test", TLSParameters(), "rsa *.b.test"), ("x.b.test", TLSParameters(), "ecdsa x.b.test"),
            ("PLAIN.test", TLSParameters(), "plain.test"), (nil, TLSParameters(), "ecdsa a.test"),
            (nil, onlyRSA, "rsa a.test"),
            ("other.test", TLSParameters(), "ecdsa a.test"), ("other.test", onlyRSA, "rsa a.test"),
        ] as [(String?, TLSParameters, String)] {
            #expect(try shown(server, name, parameters) == expected, "\(name ?? "none")")
        }
        configuration.identities = [try identity(["r.test"], rsa: true), try identity(["e.test"])]
        #expect(try shown(TLSContext(server: configuration), "other.test") == "rsa r.test")
        #expect(try shown(TLSContext(server: configuration), nil) == "ecdsa e.test")
        configuration.offersAllOnNameMismatch = true
        #expect(try shown(TLSContext(server: configuration), "other.test") == "ecdsa e.test")
    }

    @Test("without a protocol in common the connection goes on, or ends, as configured")
    func protocols() throws {
        var configuration = TLSServerConfiguration(identities: [fixture.server])
        configuration.protocols = ["h2"]
        let client = try TLSContext(connecting: fixture.trust, protocols: ["spdy"])
        let pair = try SessionPair(client, TLSContext(server: configuration))
        try pair.handshake()
        #expect(pair.server.negotiatedProtocol == nil && pair.client.negotiatedProtocol == nil)
        configuration.protocolMismatch = .refuse
        let strict = try SessionPair(client, TLSContext(server: configuration))
        try strict.client.start()
        #expect(throws: TLSError.self) { try strict.pump() }
    }

    @Test("versions, ciphers, groups and signatures are those configured")
    func parameters() throws {
        func connect(_ client: TLSParameters, _ server: TLSParameters) throws -> SessionPair {
            var ours = TLSServerConfiguration(identities: [fixture.server])
            ours.parameters = server
            var theirs = TLSClientConfiguration(verification: nil)
            theirs.parameters = client
            let pair = try SessionPair(TLSContext(client: theirs), TLSContext(server: ours))
            try pair.handshake()
            return pair
        }
        let any = TLSParameters(versions: .v1_0 ... .v1_3)
        for (version, name) in [
            (TLSVersion.v1_0, "TLSv1"), (.v1_1, "TLSv1.1"), (.v1_2, "TLSv1.2"), (.v1_3, "TLSv1.3"),
        ] {
            var only = TLSParameters(versions: version...version)
            if version < .v1_2 { only.cipherSuites = ["ECDHE-ECDSA-AES128-SHA"] }
            var server = any
            server.cipherSuites = TLSParameters.defaultCipherSuites + ["ECDHE-ECDSA-AES128-SHA"]
            #expect(try connect(only, server).server.version == name)
        }
        let two = TLSParameters(versions: .v1_2 ... .v1_2)
        #expect(try connect(two, TLSParameters()).server.cipherName == "ECDHE-ECDSA-AES128-GCM-SHA256")
        #expect(try connect(any, TLSParameters()).server.cipherName == "TLS_AES_128_GCM_SHA256")
        var big = two
        big.cipherSuites = [
            "[TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384|ECDHE-ECDSA-CHACHA20-POLY1305]", "ECDHE-RSA-AES128-GCM-SHA256",
        ]
        #expect(try connect(any, big).server.cipherName == "ECDHE-ECDSA-AES256-GCM-SHA384")
        #expect(try connect(two, TLSParameters(groups: ["P-384", "X25519"])).server.version == "TLSv1.2")
        let error = #expect(throws: TLSError.self) { try connect(two, TLSParameters(versions: .v1_3 ... .v1_3)) }
        #expect(error?.transportReason.contains("UNSUPPORTED_PROTOCOL") == true, "\(error?.transportReason ?? "")")
        for (broken, name) in [
            (TLSParameters(cipherSuites: ["ECDHE-RSA-AES128-GCM-SHA256", "NOPE"]), "individually: NOPE"),
            (TLSParameters(cipherSuites: ["TLS_AES_128_GCM_SHA256"]), "individually: TLS_AES_128_GCM_SHA256"),
            (TLSParameters(groups: ["P-256", "P-1"]), "P-1"), (TLSParameters(signatureAlgorithms: ["x"]), "signature"),
        ] {
            let error = #expect(throws: TLSError.self) { try connect(any, broken) }
            #expect(error?.message.contains(name) == true, "\(error?.message ?? "")")
        }
    }

    @Test(
        "a session is resumed by tickets, by state, or not at all, as configured", arguments: [TLSVersion.v1_2, .v1_3])
    func resumption(_ version: TLSVersion) throws {
        let keys = try (0..<3).map { number in try SessionTicketKeys([[UInt8](repeating: UInt8(number), count: 80)]) }
        let rotated = try SessionTicketKeys([[UInt8](repeating: 9, count: 80), [UInt8](repeating: 0, count: 80)])
        func server(_ tickets: TLSServerConfiguration.Tickets, stateful: Int = 0) throws -> TLSContext {
            var configuration = TLSServerConfiguration(identities: [fixture.server])
            configuration.tickets = tickets
            configuration.statefulSessions = stateful
            return try TLSContext(server: configuration)
        }
        func resumes(_ first: TLSContext, _ second: TLSContext) throws -> Bool {
            var configuration = TLSClientConfiguration(verification: PeerVerification(authorities: fixture.trust))
            configuration.parameters.versions = version...version
            configuration.storedTickets = 1
            let client = try TLSContext(client: configuration)
            var resumed = false
            for context in [first, second] {
                let pair = try SessionPair(client, context)
                try pair.handshake()
                try SessionPair.send([1], from: pair.server)
                try pair.pump()
                #expect(pair.server.isResumed == pair.client.isResumed)
                resumed = pair.server.isResumed
                pair.client.sendClose()
                pair.server.sendClose()
                try pair.pump()
            }
            return resumed
        }
        let own = try server(.ownKeys)
        #expect(try resumes(own, own))
        #expect(try !resumes(own, server(.ownKeys)))
        #expect(try resumes(server(.keys(keys[0])), server(.keys(keys[0]))))
        #expect(try resumes(server(.keys(keys[0])), server(.keys(rotated))))
        #expect(try !resumes(server(.keys(keys[0])), server(.keys(keys[1]))))
        #expect(try !resumes(server(.keys(rotated)), server(.keys(keys[0]))))
        let off = try server(.off)
        #expect(try !resumes(off, off))
        let stateful = try server(.off, stateful: 10)
        #expect(try resumes(stateful, stateful))
        #expect(throws: TLSError.self) { try SessionTicketKeys([[1, 2, 3]]) }
        #expect(throws: TLSError.self) { try SessionTicketKeys([]) }
    }

    @Test("a ticket from before the rules changed opens nothing")
    func scope() throws {
        let keys = try SessionTicketKeys([[UInt8](repeating: 5, count: 80)])
        func server(_ names: [NameMatcher]) throws -> TLSContext {
            var rules = PeerVerification(authorities: fixture.trust)
            rules.names = names
            var configuration = TLSServerConfiguration(identities: [fixture.server], verification: rules)
            configuration.tickets = .keys(keys)
            return try TLSContext(server: configuration)
        }
        var configuration = TLSClientConfiguration(verification: nil)
        configuration.storedTickets = 1
        let person = try fixture.authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "p"), names: AlternativeNames(dns: ["p.test"]), purpose: .client)
        )
        configuration.identity = person
        let client = try TLSContext(client: configuration)
        for (names, resumed) in [([], false), ([], true), ([NameMatcher(.dns, .exact("p.test"))], false)] {
            let pair = try SessionPair(client, server(names))
            try pair.handshake()
            try SessionPair.send([1], from: pair.server)
            try pair.pump()
            #expect(pair.server.isResumed == resumed)
            #expect(pair.server.isPeerTrusted)
        }
        let refusing = try SessionPair(client, server([NameMatcher(.dns, .exact("q.test"))]))
        try refusing.client.start()
        #expect(throws: TLSError.self) { try refusing.pump() }
    }

    @Test("tickets are kept for the server that gave them, the newest, as many as allowed")
    func ticketCache() throws {
        let server = try TLSContext(serving: [fixture.server])
        for (stored, names, resumed) in [
            (1, ["a.test", "b.wild.test", "a.test"], [false, false, false]),
            (2, ["a.test", "b.wild.test", "a.test"], [false, false, true]),
            (0, ["a.test", "a.test"], [false, false]), (1, ["a.test", "a.test", "a.test"], [false, true, true]),
        ] {
            var configuration = TLSClientConfiguration(
                verification: PeerVerification(authorities: fixture.trust), checksServerName: true)
            configuration.storedTickets = stored
            let client = try TLSContext(client: configuration)
            var seen: [Bool] = []
            for name in names {
                let pair = try SessionPair(client, server, name: name)
                try pair.handshake()
                seen.append(pair.client.isResumed)
            }
            #expect(seen == resumed, "\(stored) \(names)")
        }
    }

    @Test("a key log gets the secrets of the sessions that it is meant for")
    func keyLog() throws {
        final class Lines: @unchecked Sendable { var all: [String] = [] }
        let lines = Lines()
        var configuration = TLSServerConfiguration(identities: [fixture.server])
        configuration.keyLog = { lines.all.append($0) }
        let pair = try SessionPair(TLSContext(connecting: fixture.trust), TLSContext(server: configuration))
        try pair.handshake()
        #expect(lines.all.contains { $0.hasPrefix("SERVER_TRAFFIC_SECRET_0 ") })

        lines.all = []
        var client = TLSClientConfiguration(verification: nil)
        client.keyLog = configuration.keyLog
        for logsKeys in [false, true] {
            let session = try TLSSession(TLSContext(client: client), logsKeys: logsKeys)
            let server = try TLSSession(TLSContext(serving: [fixture.server]))
            try session.start()
            try SessionPair.carry(session, server)
            #expect(session.isEstablished && lines.all.isEmpty == !logsKeys)
        }
    }

    @Test("what both sides know of each other")
    func facts() throws {
        let pair = try SessionPair(
            TLSContext(connecting: fixture.trust, identity: fixture.client),
            TLSContext(
                serving: [fixture.server], clientCertificates: .required, trust: fixture.trust, protocols: ["h2"]))
        try pair.handshake()
        let peer = try #require(pair.server.peerCertificate)
        #expect(peer.subjectText == "CN=alice,O=dev,O=system:masters")
        #expect(peer.issuerText == "CN=test authority")
        #expect(peer.fingerprintText == Hex.encode(peer.fingerprint))
        #expect(pair.server.sessionID.count == 64)
        #expect(pair.server.localCertificate == fixture.server.leaf)
        let encoded = peer.urlEncodedPEM
        #expect(
            encoded.hasPrefix("-----BEGIN%20CERTIFICATE-----%0A") && encoded.hasSuffix("-----END%20CERTIFICATE-----%0A")
        )
        #expect(!encoded.contains { "+/= \n".contains($0) })
        let now = Timestamp(seconds: peer.notAfter.seconds - 3 * 86400 - 1, nanoseconds: 0)
        let described = fixture.server.leaf.description(path: "x.pem", now: now)
        #expect(described["path"] == "x.pem")
        #expect(described["days_until_expiration"] == .string("3"))
        #expect(described["subject_alt_names"]?.array?.count == 4)
    }
}
