import Bytes
import Glibc
import MeshIdentity
import Reactor
import TLS
import TestSupport
import Testing

@testable import MeshControl

@Suite("The mesh's authority")
struct MeshAuthorityTests {
    private let folder: ScratchFolder
    private let passphrase: MeshPassphrase

    init() throws {
        folder = try ScratchFolder()
        passphrase = MeshPassphrase(path: folder.path + "/passphrase")
        try passphrase.create()
    }

    private static let cart = SPIFFEIdentity(trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart")

    @Test("openssl verifies what it issues, and reads the one name in it")
    func issues() async throws {
        let authority = try MeshAuthorityGeneration.create(trustDomain: "cluster.local").authority
        let key = try PrivateKey.generate()
        let leaf = try authority.certify(key.publicKey, as: Self.cart, lifetime: 3600)
        let answer = authority.answer(leaf)
        #expect(answer.chain.count == 3, "leaf, issuer, roots")
        try Files.writeAtomically(folder.path + "/leaf.pem", answer.chain[0])
        try Files.writeAtomically(folder.path + "/chain.pem", answer.chain[1])
        try Files.writeAtomically(folder.path + "/root.pem", answer.chain[2])
        for purpose in ["sslserver", "sslclient"] {
            let verdict = try OpenSSL.run(
                "verify", "-x509_strict", "-purpose", purpose, "-CAfile", folder.path + "/root.pem", "-untrusted",
                folder.path + "/chain.pem", folder.path + "/leaf.pem")
            #expect(verdict.output.contains(": OK"), "\(verdict.output)")
        }
        let text = try OpenSSL.run("x509", "-in", folder.path + "/leaf.pem", "-noout", "-text").output
        #expect(text.contains("X509v3 Subject Alternative Name: critical\n"), "\(text)")
        #expect(text.contains("URI:spiffe://cluster.local/ns/shop/sa/cart\n"))
        #expect(text.contains("prime256v1") && text.contains("CA:FALSE"))
    }

    @Test("its keys are encrypted at rest, and openssl opens them with the passphrase alone")
    func atRest() throws {
        let directory = folder.path + "/mesh"
        let made = try MeshAuthorityGeneration.create(trustDomain: "cluster.local")
        try made.write(to: directory, passphrase)
        for name in ["ca-key.pem", "root-key.pem"] {
            let path = "\(directory)/current/\(name)"
            #expect(try Files.readText(path).hasPrefix("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
            #expect(try OpenSSL.run("pkey", "-in", path, "-noout", "-passin", "file:\(passphrase.path)").status == 0)
            #expect(try OpenSSL.run("pkey", "-in", path, "-noout", "-passin", "pass:wrong").status != 0)
            #expect(try OpenSSL.mode(path) == 0o600)
        }
        #expect(try OpenSSL.mode(passphrase.path) == 0o600 && OpenSSL.mode(directory) == 0o700)
        let read = try MeshAuthorityGeneration(reading: directory, passphrase)
        #expect(read.authority.issuer.certificate == made.authority.issuer.certificate)
        #expect(read.authority.roots == made.authority.roots)
        let other = MeshPassphrase(path: folder.path + "/other")
        try Files.writeAtomically(other.path, "guess\n")
        let error = #expect(throws: MeshAuthority.Invalid.self) {
            try MeshAuthorityGeneration(reading: directory, other)
        }
        #expect(
            error?.description.contains("is encrypted, and the passphrase in") ?? false, "\(error?.description ?? "")")
    }

    @Test("it ends with its issuer, whatever is asked for")
    func lifetime() throws {
        let now = Timestamp(seconds: 1_800_000_000)
        let authority = try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: now).authority
        let key = try PrivateKey.generate().publicKey
        let short = try authority.certify(key, as: Self.cart, lifetime: 60, now: now)
        #expect(short.notAfter.seconds == now.seconds + 60)
        let end = authority.issuer.certificate.notAfter
        let late = Timestamp(seconds: end.seconds - 100)
        #expect(try authority.certify(key, as: Self.cart, lifetime: 86400, now: late).notAfter == end)
        #expect(throws: TLSError.self) { try authority.certify(key, as: Self.cart, lifetime: 86400, now: end) }
    }

    @Test("a clock that is wrong does not keep it from being read, and is told when it shall sign")
    func clock() throws {
        let directory = folder.path + "/mesh"
        // Made a day from now, as this machine sees it after its clock was set back.
        let tomorrow = Timestamp(seconds: Timestamp.now().seconds + 86400)
        try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: tomorrow).write(to: directory, passphrase)
        let authority = try MeshAuthorityGeneration(reading: directory, passphrase).authority
        let key = try PrivateKey.generate().publicKey
        let error = #expect(throws: TLSError.self) { try authority.certify(key, as: Self.cart, lifetime: 60) }
        #expect(error?.message.contains("look at this machine's clock") ?? false, "\(error?.message ?? "")")
        #expect(try authority.certify(key, as: Self.cart, lifetime: 60, now: tomorrow).notAfter > tomorrow)
    }

    // MARK: Another root

    @Test("a new root is trusted first, then signs, and the old one goes at the end of the overlap")
    func rotation() throws {
        let start = Timestamp(seconds: 1_800_000_000)
        func later(_ seconds: Int64) -> Timestamp { Timestamp(seconds: start.seconds + seconds) }
        let directory = folder.path + "/mesh"
        func stored() throws -> MeshAuthorityGeneration {
            try MeshAuthorityGeneration(reading: directory, passphrase)
        }
        let first = try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: start)
        let old = first.authority.root
        try first.rotating("cluster.local", settling: 60, overlap: 3600, now: start).write(to: directory, passphrase)

        var state = try stored()
        #expect(state.authority.root == old && state.authority.roots.count == 2)
        #expect(try state.next("cluster.local", now: later(59)) == nil)
        #expect(throws: MeshAuthority.Invalid.self) {
            try state.rotating("cluster.local", settling: 1, overlap: 1, now: start)
        }
        // An identity of the old root is trusted by who knows the new state, and the other way round.
        let before = try state.authority.certify(
            try PrivateKey.generate().publicKey, as: Self.cart, lifetime: 60, now: start)

        try #require(try state.next("cluster.local", now: later(60))).write(to: directory, passphrase)
        state = try stored()
        #expect(state.authority.root != old && state.authority.roots.contains(old))
        #expect(before.isSigned(by: first.authority.issuer.certificate))
        #expect(state.authority.issuer.certificate.isSigned(by: state.authority.root))
        #expect(try state.next("cluster.local", now: later(3600)) == nil)

        try #require(try state.next("cluster.local", now: later(3661))).write(to: directory, passphrase)
        state = try stored()
        #expect(state.authority.roots.count == 1 && state.authority.root != old)
        #expect(state.authority.issuer.certificate.isSigned(by: state.authority.root))
        // Nothing but the state that counts is left.
        #expect(try Files.list(directory).count == 2)
    }

    @Test("a root whose key got out ends at once")
    func compromise() throws {
        let first = try MeshAuthorityGeneration.create(trustDomain: "cluster.local")
        let coming = try first.rotating("cluster.local", settling: 0, overlap: 0)
        let next = try #require(try coming.next("cluster.local", now: .now()))
        #expect(!next.authority.roots.contains(first.authority.root) && next.authority.roots.count == 1)
        #expect(next.rotation == nil)
    }

    @Test("the issuing certificate is made anew when a third of its life is left, under the same root")
    func renewal() throws {
        let start = Timestamp(seconds: 1_800_000_000)
        let first = try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: start)
        let year = CertificateTemplate.year
        #expect(try first.next("cluster.local", now: Timestamp(seconds: start.seconds + year / 2)) == nil)
        let due = first.due
        #expect(due.seconds == start.seconds + year - year / 3)
        let next = try #require(try first.next("cluster.local", now: due))
        #expect(next.authority.root == first.authority.root)
        #expect(next.authority.issuer.certificate.notAfter.seconds == due.seconds + year)
    }
}
