import Bytes
import Testing

@testable import TLS

@Suite("Certificates and keys")
struct CertificateTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    @Test("an issued certificate says what its template said, also after a trip through PEM and DER")
    func issued() throws {
        var template = CertificateTemplate(
            subject: DistinguishedName(commonName: "system:node:n1", organizations: ["system:nodes"]),
            names: AlternativeNames(
                dns: ["n1", "n1.test"], addresses: [IPAddress(v4: 10, 0, 0, 1), .loopbackV6],
                uris: ["spiffe://cluster.local/ns/a/sa/b"]),
            purpose: .peer)
        template.notAfter = Timestamp(seconds: 2_000_000_000, nanoseconds: 0)
        let identity = try fixture.authority.issue(template)
        for certificate in [
            identity.leaf, try Certificate(pem: identity.leaf.pem), try Certificate(der: identity.leaf.der),
        ] {
            #expect(certificate.subject == template.subject)
            #expect(certificate.alternativeNames == template.names)
            #expect(certificate.issuer.commonName == "test authority")
            #expect(certificate.notAfter.rfc3339 == "2033-05-18T03:33:20Z")
            #expect(certificate.isSigned(by: fixture.authority.certificate))
            #expect(!certificate.isAuthority)
            #expect(certificate == identity.leaf)
            #expect(certificate.serial.count == 32)
            #expect(certificate.publicKey == identity.key.publicKey)
        }
        #expect(fixture.authority.certificate.isAuthority)
        #expect(!identity.leaf.isSigned(by: identity.leaf))
        #expect(identity.leaf.publicKey.pin != fixture.authority.certificate.publicKey.pin)
    }

    @Test("keys survive a trip through PEM", arguments: [PrivateKey.Algorithm.p256, .rsa(bits: 2048)])
    func keys(_ algorithm: PrivateKey.Algorithm) throws {
        let key = try PrivateKey.generate(algorithm)
        let again = try PrivateKey(pem: key.pem)
        #expect(again.publicKey == key.publicKey)
        #expect(try PublicKey(pem: key.publicKey.pem) == key.publicKey)
        let message = Array("sign me".utf8)
        #expect(key.publicKey.verifies(try again.sign(message), of: message))
        #expect(!key.publicKey.verifies(try again.sign(message), of: message + [0]))
    }

    @Test("a bundle is read whole, and a broken block in it is named")
    func bundles() throws {
        let bundle = "# comment\n" + fixture.authority.certificate.pem + "\n" + fixture.server.leaf.pem
        #expect(try Certificate.chain(pem: bundle).count == 2)
        #expect(throws: TLSError.self) { try Certificate.chain(pem: "") }
        var broken = fixture.server.leaf.pem
        broken.replaceSubrange(
            broken.index(broken.startIndex, offsetBy: 100)..<broken.index(broken.startIndex, offsetBy: 104),
            with: "!!!!")
        let error = #expect(throws: TLSError.self) { try Certificate.chain(pem: bundle + broken) }
        #expect(error?.message.contains("certificate 3") == true)
    }

    @Test("an authority is not made from a key that is not its own, or from a leaf")
    func authorities() throws {
        #expect(throws: TLSError.self) {
            try CertificateAuthority(certificate: fixture.authority.certificate, key: fixture.server.key)
        }
        #expect(throws: TLSError.self) {
            try CertificateAuthority(certificate: fixture.server.leaf, key: fixture.server.key)
        }
    }

    @Test("a name cannot smuggle further names into a certificate", arguments: ["a,DNS:evil", "", "a b", "a\n"])
    func injection(_ name: String) throws {
        #expect(throws: TLSError.self) {
            try fixture.authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "x"), names: AlternativeNames(dns: [name]), purpose: .server)
            )
        }
    }

    @Test("a certificate request carries its names and is bound to its key")
    func requests() throws {
        let key = try PrivateKey.generate()
        let subject = DistinguishedName(commonName: "system:node:n2", organizations: ["system:nodes"])
        let names = AlternativeNames(dns: ["n2"], addresses: [.loopbackV4])
        let pem = try CertificateRequest.pem(subject: subject, names: names, key: key)
        let request = try CertificateRequest(pem: pem)
        #expect(request.subject == subject)
        #expect(request.names == names)
        #expect(request.publicKey == key.publicKey)
        let bare = try CertificateRequest(pem: CertificateRequest.pem(subject: subject, key: key))
        #expect(bare.names.isEmpty)
        #expect(throws: TLSError.self) { try CertificateRequest(pem: fixture.server.leaf.pem) }
    }

    @Test("flipped bytes in a certificate never trap", arguments: [UInt64(1), 2])
    func flips(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let der = fixture.server.leaf.der
        for index in der.indices {
            var flipped = der
            flipped[index] = .random(in: 0...255, using: &random)
            guard let certificate = try? Certificate(der: flipped) else { continue }
            _ = (certificate.subject, certificate.alternativeNames, certificate.notAfter, certificate.publicKey.pin)
        }
        for count in der.indices { #expect(throws: TLSError.self) { try Certificate(der: Array(der[..<count])) } }
        #expect(throws: TLSError.self) { try Certificate(der: der + [0]) }
    }
}

@Suite("Digests and identifiers")
struct DigestTests {
    @Test("digests are those of the standards")
    func digests() {
        #expect(Hex.encode(Digest.sha256([])) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(Hex.encode(Digest.sha1("abc".utf8)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        // RFC 4231, test case 2.
        #expect(
            Hex.encode(Digest.hmacSHA256(key: Array("Jefe".utf8), "what do ya want for nothing?".utf8))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        #expect(Digest.equalInConstantTime([1, 2], [1, 2]))
        #expect(!Digest.equalInConstantTime([1, 2], [1, 3]))
        #expect(!Digest.equalInConstantTime([1], [1, 3]))
    }

    @Test("identifiers are version 4 UUIDs and differ")
    func identifiers() {
        let all = Set((0..<1000).map { _ in makeUUID() })
        #expect(all.count == 1000)
        for uuid in all {
            let parts = uuid.split(separator: "-")
            #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
            #expect(parts[2].first == "4")
            #expect(parts[3].first.map { "89ab".contains($0) } == true)
        }
    }
}
