import Bytes
import MeshIdentity
import TLS
import Testing

@testable import MeshControl
@testable import MeshNode

@Suite("A pod's certificate, as its node takes it")
struct WorkloadCredentialTests {
    private static let now = Timestamp(seconds: 1_900_000_000)
    private static let cart = SPIFFEIdentity(trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart")

    private func credential(lifetime: Int64) throws -> (WorkloadCredential, MeshAuthority) {
        let authority = try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: Self.now).authority
        let key = try PrivateKey.generate()
        let leaf = try authority.certify(key.publicKey, as: Self.cart, lifetime: lifetime, now: Self.now)
        return (try WorkloadCredential(authority.answer(leaf), key: key, identity: Self.cart), authority)
    }

    @Test("it is renewed at half its life, a tenth more or less")
    func half() throws {
        let (credential, _) = try credential(lifetime: 86400)
        var generator = SystemRandomNumberGenerator()
        var delays: Set<Duration> = []
        for _ in 0..<50 {
            let delay = try #require(credential.renewal(now: Self.now, using: &generator))
            #expect(delay >= .seconds(86400 / 2 * 0.9) && delay <= .seconds(86400 / 2 * 1.1), "\(delay)")
            delays.insert(delay)
        }
        #expect(delays.count > 10, "pods that started together ask apart")
    }

    @Test("one that is over, or has not begun, is of no use", arguments: [86400, 86401, -301, -86400] as [Int64])
    func clocks(off: Int64) throws {
        let (credential, _) = try credential(lifetime: 86400)
        var generator = SystemRandomNumberGenerator()
        let here = Timestamp(seconds: Self.now.seconds + off)
        #expect(credential.renewal(now: here, using: &generator) == nil)
    }

    @Test("it is of no use without a root that is trusted")
    func roots() throws {
        let (credential, authority) = try credential(lifetime: 60)
        #expect(credential.isTrusted(by: authority.roots))
        #expect(!credential.isTrusted(by: []))
        let other = try MeshAuthorityGeneration.create(trustDomain: "cluster.local", now: Self.now).authority
        #expect(!credential.isTrusted(by: other.roots))
        #expect(credential.isTrusted(by: other.roots + authority.roots))
    }

    @Test("an answer for somebody else, for another key, or without a root, is refused")
    func refused() throws {
        let authority = try MeshAuthorityGeneration.create(trustDomain: "cluster.local").authority
        let key = try PrivateKey.generate()
        var web = Self.cart
        web.serviceAccount = "web"
        let leaf = try authority.certify(key.publicKey, as: web, lifetime: 60)
        #expect(throws: WorkloadCredential.Unusable.self) {
            try WorkloadCredential(authority.answer(leaf), key: key, identity: Self.cart)
        }
        #expect(throws: WorkloadCredential.Unusable.self) {
            try WorkloadCredential(CertificateCall.Response(chain: [leaf.pem]), key: key, identity: web)
        }
        let another = try PrivateKey.generate()
        #expect(throws: TLSError.self) {
            try WorkloadCredential(authority.answer(leaf), key: another, identity: web)
        }
    }
}
