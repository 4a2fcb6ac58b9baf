import Bytes
import TLS
import Testing

@testable import Proxy

@Suite("x-forwarded-client-cert")
struct ForwardedClientCertificateTests {
    @Test(
        "what becomes of the header that came, by mode and client",
        arguments: [
            (.sanitize, true, .remove), (.sanitize, false, .remove), (.forwardOnly, true, .keep),
            (.forwardOnly, false, .remove),
            (.appendForward, true, .append), (.appendForward, false, .remove), (.sanitizeSet, true, .set),
            (.sanitizeSet, false, .remove), (.alwaysForwardOnly, true, .keep), (.alwaysForwardOnly, false, .keep),
        ] as [(ForwardedClientCertificate.Mode, Bool, ForwardedClientCertificate.Action)])
    func actions(
        _ mode: ForwardedClientCertificate.Mode, _ hasCertificate: Bool, _ action: ForwardedClientCertificate.Action
    ) {
        #expect(ForwardedClientCertificate(mode).action(hasClientCertificate: hasCertificate) == action)
    }

    @Test("an element has its parts in Envoy's order, as many as there are of each")
    func elements() throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        func issue(_ name: String, dns: [String], uris: [String]) throws -> Certificate {
            try authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: name, organizations: ["a, \"b\""]),
                    names: AlternativeNames(dns: dns, uris: uris), purpose: .peer)
            ).leaf
        }
        let local = try issue("server", dns: [], uris: ["spiffe://td/server", "https://second"])
        let peer = try issue("client", dns: ["a.test", "b.test"], uris: ["spiffe://td/client"])
        let bare = try issue("bare", dns: [], uris: [])
        let by = "By=spiffe://td/server;By=https://second;"
        let hash = "Hash=\(Hex.encode(Digest.sha256(peer.der)))"
        func element(_ details: ForwardedClientCertificate.Details, _ chain: [Certificate], _ local: Certificate?)
            -> String
        {
            ForwardedClientCertificate(.sanitizeSet, details: details).element(local: local, chain: chain)
        }
        #expect(element([], [peer], local) == by + hash)
        #expect(element([], [peer], nil) == hash)
        #expect(element([], [], local) == "")
        let subject = #"Subject="CN=client,O=a\, \"b\"""#
        #expect(
            element([.subject, .uri, .dns], [peer], local)
                == "\(by)\(hash);\(subject);URI=spiffe://td/client;DNS=a.test;DNS=b.test")
        #expect(element([.uri, .dns], [bare], nil) == "Hash=\(bare.fingerprintText);URI=")
        #expect(
            element([.certificate, .chain, .issuer], [peer, bare], nil)
                == "\(hash);Cert=\"\(peer.urlEncodedPEM)\";Chain=\"\(peer.urlEncodedPEM)\(bare.urlEncodedPEM)\";Issuer=\"CN=ca\""
        )
    }
}
