import Bytes
import Testing

@testable import TLS

@Suite("Verification of peers")
struct PeerVerificationTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    /// A client with this identity at a server with these rules; throws the server's refusal.
    private func connect(
        _ identity: TLSIdentity?, _ rules: PeerVerification, requires: Bool = false
    ) throws -> SessionPair {
        var client = TLSClientConfiguration(verification: nil)
        client.identity = identity
        let server = TLSServerConfiguration(
            identities: [fixture.server], verification: rules, requiresClientCertificate: requires)
        let pair = try SessionPair(TLSContext(client: client), TLSContext(server: server))
        try pair.client.start()
        try pair.pump()
        return pair
    }

    private func issue(
        dns: [String] = [], uris: [String] = [], emails: [String] = [], addresses: [IPAddress] = [],
        by authority: CertificateAuthority? = nil, key: PrivateKey? = nil, expired: Bool = false
    ) throws -> TLSIdentity {
        var names = AlternativeNames(dns: dns, addresses: addresses, uris: uris)
        names.emails = emails
        var template = CertificateTemplate(
            subject: DistinguishedName(commonName: "peer"), names: names, purpose: .peer)
        if expired {
            template.notBefore = Timestamp(seconds: 1_000_000_000, nanoseconds: 0)
            template.notAfter = Timestamp(seconds: 1_100_000_000, nanoseconds: 0)
        }
        let key = try key ?? PrivateKey.generate()
        return try TLSIdentity(chain: [(authority ?? fixture.authority).issue(template, for: key.publicKey)], key: key)
    }

    private struct Initial: NameExpression {
        func matches(_ text: String) -> Bool { text.hasPrefix("spiffe://") && text.hasSuffix("/sa") }
    }

    @Test("a name of the wanted type that fits lets the peer in; none is refused as a name")
    func names() throws {
        let identity = try issue(
            dns: ["a.test", "*.wild.test"], uris: ["spiffe://td/sa"], emails: ["x@y.test"], addresses: [.loopbackV6])
        let rows: [(NameMatcher, Bool)] = [
            (NameMatcher(.dns, .exact("a.test")), true), (NameMatcher(.dns, .exact("A.Test")), true),
            (NameMatcher(.dns, .exact("b.wild.test")), true), (NameMatcher(.dns, .exact("b.c.wild.test")), false),
            (NameMatcher(.dns, .exact("wild.test")), false), (NameMatcher(.dns, .suffix(".wild.test")), true),
            (NameMatcher(.dns, .prefix("A.")), false), (NameMatcher(.dns, .prefix("A."), ignoresCase: true), true),
            (NameMatcher(.dns, .contains("wil")), true), (NameMatcher(.uri, .exact("spiffe://td/sa")), true),
            (NameMatcher(.uri, .exact("spiffe://td/SA")), false), (NameMatcher(.uri, .prefix("spiffe://td/")), true),
            (NameMatcher(.uri, .expression(Initial())), true), (NameMatcher(.dns, .expression(Initial())), false),
            (NameMatcher(.email, .exact("x@y.test")), true), (NameMatcher(.email, .exact("y@y.test")), false),
            (NameMatcher(.address, .exact("::1")), true), (NameMatcher(.address, .exact("::2")), false),
            (NameMatcher(.uri, .exact("a.test")), false), (NameMatcher(.other(oid: "1.2.3"), .prefix("")), false),
        ]
        for (matcher, fits) in rows {
            var rules = PeerVerification(authorities: fixture.trust)
            rules.names = [NameMatcher(.dns, .exact("never.test")), matcher]
            if fits {
                let pair = try connect(identity, rules)
                #expect(pair.server.isPeerTrusted, "\(matcher)")
            } else {
                let error = #expect(throws: TLSError.self, "\(matcher)") { try connect(identity, rules) }
                #expect(error?.refusal == .name)
                #expect(
                    error?.transportReason
                        == "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"
                        + ":verify cert failed: SAN matcher:TLS_error_end")
            }
        }
    }

    @Test("a pin of the certificate or of its key lets the peer in, also where no authority is asked")
    func pins() throws {
        let identity = try issue(dns: ["a.test"])
        let right = try PeerVerification.certificateHash(hex: Hex.encode(identity.leaf.fingerprint).uppercased())
        let key = try PeerVerification.keyHash(base64: Base64.encode(identity.leaf.publicKey.pin))
        let wrong = [UInt8](repeating: 1, count: 32)
        for trust in [PeerVerification.Trust.nobody, .authorities([fixture.authority.certificate])] {
            for (hashes, keys, fits) in [
                ([right], [], true), ([], [key], true), ([wrong], [key], true), ([wrong, right], [wrong], true),
                ([wrong], [], false), ([], [wrong], false), ([wrong], [wrong], false),
            ] as [([[UInt8]], [[UInt8]], Bool)] {
                var rules = PeerVerification(trust: trust)
                (rules.certificateHashes, rules.keyHashes) = (hashes, keys)
                if fits {
                    let pair = try connect(identity, rules)
                    #expect(pair.server.isPeerTrusted)
                } else {
                    let error = #expect(throws: TLSError.self) { try connect(identity, rules) }
                    #expect(error?.refusal == .pin)
                    #expect(error?.transportReason.contains("verify cert failed: cert hash and spki") == true)
                }
                // Pins demand a certificate.
                let error = #expect(throws: TLSError.self) { try connect(nil, rules) }
                #expect(error?.refusal == .noCertificate)
                #expect(
                    error?.transportReason.contains(
                        "268435655:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE") == true)
            }
        }
        #expect(throws: TLSError.self) { try PeerVerification.certificateHash(hex: "abcd") }
        #expect(throws: TLSError.self) { try PeerVerification.keyHash(base64: "abcd") }
    }

    @Test("a chain that fails is refused with its reason, or goes on untrusted where that is accepted")
    func chains() throws {
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        let rows: [(TLSIdentity, String)] = [
            (try issue(dns: ["a.test"], by: stranger), "unable to get local issuer certificate"),
            (try issue(dns: ["a.test"], expired: true), "certificate has expired"),
        ]
        for (identity, reason) in rows {
            var rules = PeerVerification(authorities: fixture.trust)
            let error = #expect(throws: TLSError.self) { try connect(identity, rules) }
            #expect(error?.refusal == .chain)
            #expect(error?.kind == .untrustedPeer)
            #expect(
                error?.transportReason.contains(
                    "verify cert failed: X509_verify_cert: certificate verification error at depth 0: \(reason)")
                    == true,
                "\(error?.transportReason ?? "")")
            rules.acceptsUntrusted = true
            let pair = try connect(identity, rules)
            #expect(pair.server.hasPeerCertificate && !pair.server.isPeerTrusted)
            #expect(!pair.server.peer.isTrusted)
        }
        var lenient = PeerVerification(authorities: fixture.trust)
        lenient.allowsExpired = true
        let pair = try connect(rows[1].0, lenient)
        #expect(pair.server.isPeerTrusted)
        #expect(throws: TLSError.self) { try connect(rows[0].0, lenient) }
    }

    @Test("with no rule a demanded certificate is taken as it is, and is not trusted")
    func unverified() throws {
        let identity = try CertificateAuthority.create(commonName: "stranger").issue(
            CertificateTemplate(subject: DistinguishedName(commonName: "x"), purpose: .client))
        let pair = try connect(identity, PeerVerification(trust: .nobody), requires: true)
        #expect(pair.server.hasPeerCertificate && !pair.server.isPeerTrusted)
        #expect(throws: TLSError.self) { try connect(nil, PeerVerification(trust: .nobody), requires: true) }
        let unasked = try connect(identity, PeerVerification(trust: .nobody))
        #expect(!unasked.server.hasPeerCertificate)
    }

    @Test("names need an authority, and revocation lists too")
    func configuration() {
        var names = PeerVerification(trust: .nobody)
        names.names = [NameMatcher(.dns, .exact("a.test"))]
        let error = #expect(throws: TLSError.self) { try connect(nil, names) }
        #expect(
            error?.message
                == "SAN-based verification of peer certificates without trusted CA is insecure and not allowed")
        #expect(throws: TLSError.self) { try connect(nil, PeerVerification(trust: .spiffe([:]))) }
    }

    @Test("a SPIFFE peer is checked by the authorities of its own trust domain")
    func spiffe() throws {
        let (one, two) = (
            try CertificateAuthority.create(commonName: "one"), try CertificateAuthority.create(commonName: "two")
        )
        let rules = PeerVerification(trust: .spiffe(["one.test": [one.certificate], "two.test": [two.certificate]]))
        for (uris, authority, refusal) in [
            (["spiffe://one.test/ns/a/sa/b"], one, nil), (["spiffe://two.test/x"], two, nil),
            (["spiffe://one.test/x"], two, "certificate verification error"),
            (["spiffe://three.test/x"], one, "trust domain \"three.test\""),
            ([], one, "not a SPIFFE SVID"), (["spiffe://one.test/x", "spiffe://two.test/x"], one, "not a SPIFFE SVID"),
            (["https://one.test/x"], one, "not a SPIFFE SVID"),
        ] as [([String], CertificateAuthority, String?)] {
            let identity = try issue(dns: ["a.test"], uris: uris, by: authority)
            guard let refusal else {
                let pair = try connect(identity, rules)
                #expect(pair.server.isPeerTrusted, "\(uris)")
                continue
            }
            let error = #expect(throws: TLSError.self, "\(uris)") { try connect(identity, rules) }
            #expect(error?.transportReason.contains(refusal) == true, "\(error?.transportReason ?? "")")
        }
        var named = rules
        named.names = [NameMatcher(.uri, .prefix("spiffe://one.test/ns/a/"))]
        let identity = try issue(uris: ["spiffe://one.test/ns/b/sa/b"], by: one)
        let error = #expect(throws: TLSError.self) { try connect(identity, named) }
        #expect(error?.refusal == .name)
    }

    @Test("a server's name is checked only where the client is told to, its chain in any case")
    func clients() throws {
        let server = try TLSContext(serving: [fixture.server])
        func connect(_ configuration: TLSClientConfiguration, _ name: String?) throws -> SessionPair {
            let pair = try SessionPair(TLSContext(client: configuration), server, name: name)
            try pair.handshake()
            return pair
        }
        var configuration = TLSClientConfiguration(verification: PeerVerification(authorities: fixture.trust))
        let loose = try connect(configuration, "other.test")
        #expect(loose.client.isPeerTrusted)
        #expect(loose.server.serverName == "other.test")
        configuration.checksServerName = true
        let error = #expect(throws: TLSError.self) { try connect(configuration, "other.test") }
        #expect(error?.refusal == .name)
        #expect(error?.transportReason.contains("verify SAN list") == true)
        configuration.verification = PeerVerification(trust: .authorities([fixture.server.leaf]))
        let pinned = try connect(configuration, "a.test")
        #expect(pinned.client.isPeerTrusted)
    }

    @Test("more intermediates than allowed are refused")
    func depth() throws {
        let middle = try PrivateKey.generate()
        let intermediate = try CertificateAuthority(
            certificate: fixture.authority.issue(
                CertificateTemplate(subject: DistinguishedName(commonName: "middle"), purpose: .authority),
                for: middle.publicKey),
            key: middle)
        let leaf = try issue(dns: ["a.test"], by: intermediate)
        let identity = try TLSIdentity(chain: [leaf.leaf, intermediate.certificate], key: leaf.key)
        for (depth, fits) in [(nil, true), (1, true), (0, false)] as [(Int?, Bool)] {
            var rules = PeerVerification(authorities: fixture.trust)
            rules.maximumDepth = depth
            if fits {
                let pair = try connect(identity, rules)
                #expect(pair.server.isPeerTrusted && pair.server.peerChain.count == 2)
            } else {
                let error = #expect(throws: TLSError.self) { try connect(identity, rules) }
                #expect(error?.transportReason.contains("certificate chain too long") == true)
            }
        }
    }
}
