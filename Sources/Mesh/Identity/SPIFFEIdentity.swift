public import TLS

/// The name of a workload: `spiffe://cluster.local/ns/shop/sa/cart` (SPIFFE-ID, in the form that Istio gave it).
public struct SPIFFEIdentity: Hashable, Sendable, CustomStringConvertible {
    public var trustDomain: String
    public var namespace: String
    public var serviceAccount: String

    public init(trustDomain: String, namespace: String, serviceAccount: String) {
        (self.trustDomain, self.namespace, self.serviceAccount) = (trustDomain, namespace, serviceAccount)
    }

    /// Nil for what is no name of a Kubernetes workload.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 7, parts[0] == "spiffe:", parts[1].isEmpty, parts[3] == "ns", parts[5] == "sa",
            [parts[2], parts[4], parts[6]].allSatisfy({ Self.isSegment($0) })
        else { return nil }
        self.init(
            trustDomain: String(parts[2]), namespace: String(parts[4]), serviceAccount: String(parts[6]))
    }

    /// The one name that a certificate carries; nil where it has none, several, or another's (X.509-SVID §2: exactly one URI).
    public init?(_ certificate: Certificate) {
        let uris = certificate.alternativeNames.uris
        guard uris.count == 1 else { return nil }
        self.init(uris[0])
    }

    public var description: String { "spiffe://\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)" }

    /// SPIFFE-ID §2: letters, digits, dots, dashes and underscores.
    private static func isSegment(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
