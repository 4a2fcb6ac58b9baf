import Bytes
import MeshIdentity
import TLS

/// A pod's key and certificate, with the roots that it was given with.
struct WorkloadCredential: Sendable {
    /// Leaf, then what leads to its root.
    let identity: TLSIdentity
    let roots: [Certificate]

    /// - Throws: The answer holds something else than was asked for.
    init(_ response: CertificateCall.Response, key: PrivateKey, identity name: SPIFFEIdentity) throws {
        guard response.chain.count >= 2, let last = response.chain.last else {
            throw Unusable(description: "the authority's answer has no root")
        }
        roots = try Certificate.chain(pem: last)
        identity = try TLSIdentity(
            chain: try response.chain.dropLast().flatMap { try Certificate.chain(pem: $0) }, key: key)
        guard SPIFFEIdentity(identity.leaf) == name else {
            let given = identity.leaf.alternativeNames.uris.joined(separator: " ")
            throw Unusable(description: "the authority's certificate is for \"\(given)\", not for \(name)")
        }
    }

    struct Unusable: Error, CustomStringConvertible { var description: String }

    /// Half of what is left of its life, with up to a tenth more or less, so that pods that started together do not ask together. Nil for
    /// one that is over or has not begun: the clocks disagree, and others would refuse it.
    func renewal(now: Timestamp, using generator: inout some RandomNumberGenerator) -> Duration? {
        let left = identity.leaf.notAfter.seconds - now.seconds
        guard left > 0, identity.leaf.notBefore <= now else { return nil }
        return .seconds(Double(left) / 2 * Double.random(in: 0.9...1.1, using: &generator))
    }

    /// Whether it leads to one of these roots.
    func isTrusted(by roots: [Certificate]) -> Bool {
        guard let top = identity.chain.last else { return false }
        return roots.contains { top.isSigned(by: $0) || top == $0 }
    }
}
