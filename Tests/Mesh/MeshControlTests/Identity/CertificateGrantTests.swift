import ClusterAPI
import GRPC
import JSON
import MeshIdentity
import TLS
import Testing

@testable import MeshControl

@Suite("Who may have whose certificate")
struct CertificateGrantTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    static func pod(
        node: String = "n1", account: String = "cart", uid: String = "u1", phase: String = "Pending"
    ) -> MeshPod {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "cart-7")
        object.json["metadata"]?["uid"] = .string(uid)
        object.json["spec"] = ["nodeName": .string(node), "serviceAccountName": .string(account)]
        object.json["status"] = ["phase": .string(phase)]
        return MeshPod(object)
    }

    private static func request(
        _ identity: String = cart, pod: String = "cart-7", namespace: String = "shop", uid: String = "u1"
    ) -> CertificateCall.Request {
        CertificateCall.Request(
            csr: "",
            metadata: [
                "ImpersonatedIdentity": identity, "PodName": pod, "PodNamespace": namespace, "PodUID": uid,
            ])
    }

    private static func ask(
        _ request: CertificateCall.Request, of pod: MeshPod?, by node: String = "n1"
    ) throws(GRPCEnding) -> CertificateGrant {
        guard let wish = try CertificateGrant.wish(request, of: .node(node)) else {
            throw GRPCEnding(.internalError, "no wish")
        }
        return try CertificateGrant(wish, node: node, pod: pod, trustDomain: "cluster.local")
    }

    @Test("a node gets one for a pod that is bound to it, with that pod's account")
    func granted() throws {
        let grant = try Self.ask(Self.request(), of: Self.pod())
        #expect("\(grant.identity)" == Self.cart && grant.pod == ObjectKey(namespace: "shop", name: "cart-7"))
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var request = CertificateGrantTests.request()
        var pod: MeshPod? = CertificateGrantTests.pod()
        var node = "n1"
        var words: String
        var code = GRPCEnding.Code.permissionDenied
    }

    @Test(
        "what is refused says why",
        arguments: [
            Refused(testDescription: "no such pod", pod: nil, words: "there is no such pod"),
            Refused(testDescription: "another node's", node: "n2", words: "it is bound to node n1"),
            Refused(testDescription: "nobody's yet", pod: pod(node: ""), words: "it is bound to no node yet"),
            Refused(
                testDescription: "another account's", pod: pod(account: "web"), words: "its service account is web"),
            Refused(
                testDescription: "a namesake", pod: pod(uid: "u2"), words: "the pod of that name has uid u2, not u1"),
            Refused(testDescription: "an ended one", pod: pod(phase: "Succeeded"), words: "it has ended"),
            Refused(
                testDescription: "another namespace's account",
                request: request("spiffe://cluster.local/ns/bank/sa/cart"), words: "that is another namespace's"),
            Refused(
                testDescription: "another trust domain", request: request("spiffe://other/ns/shop/sa/cart"),
                words: "the trust domain is cluster.local"),
            Refused(
                testDescription: "nobody's name", request: request("cart"), words: "no spiffe://DOMAIN",
                code: .invalidArgument),
            Refused(
                testDescription: "no uid", request: request(uid: ""), words: "without PodUID", code: .invalidArgument),
        ])
    func refused(row: Refused) throws {
        let error = #expect(throws: GRPCEnding.self) { try Self.ask(row.request, of: row.pod, by: row.node) }
        #expect(
            error?.code == row.code.rawValue && error?.message.contains(row.words) ?? false, "\(error?.message ?? "")")
    }

    @Test("a workload may have its own and no other")
    func workload() throws {
        let own = try #require(SPIFFEIdentity(Self.cart))
        #expect(try CertificateGrant.wish(CertificateCall.Request(csr: ""), of: .workload(own)) == nil)
        #expect(throws: GRPCEnding.self) {
            try CertificateGrant.wish(Self.request("spiffe://cluster.local/ns/shop/sa/web"), of: .workload(own))
        }
    }

    @Test("a request with names that were not granted is refused")
    func names() throws {
        let grant = CertificateGrant(try #require(SPIFFEIdentity(Self.cart)))
        let key = try PrivateKey.generate()
        func csr(_ names: AlternativeNames) throws -> String {
            try CertificateRequest.pem(subject: DistinguishedName(commonName: ""), names: names, key: key)
        }
        #expect(try grant.key(of: csr(AlternativeNames(uris: [Self.cart]))) == key.publicKey)
        #expect(try grant.key(of: csr(AlternativeNames())) == key.publicKey)
        #expect(throws: GRPCEnding.self) { try grant.key(of: csr(AlternativeNames(dns: ["cart.shop"]))) }
        #expect(throws: GRPCEnding.self) {
            try grant.key(of: csr(AlternativeNames(uris: ["spiffe://cluster.local/ns/shop/sa/web"])))
        }
        #expect(throws: GRPCEnding.self) { try grant.key(of: "nothing") }
    }

    // MARK: Proxies

    @Test(
        "a proxy's name has a kind and a pod",
        arguments: [
            ("sidecar~cart-7.shop", "sidecar shop/cart-7"), ("router~gw.1.shop", "router shop/gw.1"),
            ("sidecar~10.0.0.7~cart-7.shop~shop.svc.cluster.local", "sidecar shop/cart-7"), ("cart-7.shop", ""),
            ("ztunnel~cart-7.shop", ""), ("sidecar~cart-7", ""), ("sidecar~.shop", ""), ("sidecar~cart.", ""), ("", ""),
        ])
    func names(id: String, read: String) {
        let named = ProxyIdentity.named(id).map { "\($0.kind) \($0.pod)" } ?? ""
        #expect(named == read)
    }

    @Test("a proxy is who its certificate says, in a pod of that account")
    func proxies() throws {
        let cart = try #require(SPIFFEIdentity(Self.cart))
        let key = ObjectKey(namespace: "shop", name: "cart-7")
        let proxy = try ProxyIdentity(.sidecar, key, .workload(cart), Self.pod())
        #expect(proxy.serviceAccount == "cart" && proxy.namespace == "shop")
        func refusal(_ peer: MeshPeer, _ pod: ObjectKey, _ facts: MeshPod?) -> String {
            do throws(GRPCEnding) {
                _ = try ProxyIdentity(.sidecar, pod, peer, facts)
                return ""
            } catch { return error.code == GRPCEnding.Code.permissionDenied.rawValue ? error.message : "" }
        }
        #expect(refusal(.workload(cart), key, nil).contains("there is no such pod"))
        #expect(refusal(.workload(cart), key, Self.pod(account: "web")).contains("its service account is web"))
        #expect(refusal(.node("n1"), key, Self.pod()).contains("a node has no configuration"))
        let bank = ObjectKey(namespace: "bank", name: "cart-7")
        #expect(refusal(.workload(cart), bank, Self.pod()).contains("another namespace's"))
    }
}
