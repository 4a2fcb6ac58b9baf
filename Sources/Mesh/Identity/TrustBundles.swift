import Protobuf
public import TLS

/// The roots that are trusted, by trust domain; what `SpiffeWorkloadAPI/FetchX509Bundles` answers with, anew on each change
/// (SPIFFE Workload API §5.2.2).
public struct TrustBundles: Hashable, Sendable {
    public static let path = "/SpiffeWorkloadAPI/FetchX509Bundles"
    /// A header that a request must have, so that no browser can be made to send one (SPIFFE Workload Endpoint §5).
    public static let header = "workload.spiffe.io"

    public var roots: [String: [Certificate]]

    public init(_ roots: [String: [Certificate]]) { self.roots = roots }

    /// From an `X509BundlesResponse`; what is no certificate makes all of it malformed.
    public init(_ bytes: [UInt8]) throws(MalformedMessage) {
        var roots: [String: [Certificate]] = [:]
        try bytes.forEachField { field throws(MalformedMessage) in
            guard field.number == 2, field.wire == .bytes else { return }
            var name = ""
            var bundle: [UInt8] = []
            try Array(field.bytes).forEachField { part throws(MalformedMessage) in
                if part.number == 1 { name = part.text }
                if part.number == 2 { bundle = Array(part.bytes) }
            }
            do throws(TLSError) {
                roots[Self.domain(name)] = try Certificate.sequence(der: bundle)
            } catch { throw MalformedMessage(malformed: "bundle of \(name): \(error)") }
        }
        self.roots = roots
    }

    public var bytes: [UInt8] {
        var out = ReverseBuffer()
        for (domain, certificates) in roots.sorted(by: { $0.key > $1.key }) {
            let entry = out.count
            let bundle = out.count
            for certificate in certificates.reversed() { out.prepend(certificate.der) }
            out.close(field: 2, since: bundle)
            out.prepend(field: 1, text: "spiffe://" + domain)
            out.close(field: 2, since: entry)
        }
        return out.bytes
    }

    /// Older servers name the domain alone.
    private static func domain(_ name: String) -> String {
        name.hasPrefix("spiffe://") ? String(name.dropFirst("spiffe://".count)) : name
    }
}
