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

    /// Half of what is left of its life, with up to a tenth more or less, so that pods that started together do not ask together; a
    /// clock that is before the authority's sees a life that has not begun. Nil where none is left: the clocks disagree.
    func renewal(now: Timestamp, using generator: inout some RandomNumberGenerator) -> Duration? {
        let start = max(now, identity.leaf.notBefore)
        let left = identity.leaf.notAfter.seconds - start.seconds
        guard left > 0 else { return nil }
        return .seconds(Double(left) / 2 * Double.random(in: 0.9...1.1, using: &generator))
    }

    /// Whether it leads to one of these roots.
    func isTrusted(by roots: [Certificate]) -> Bool {
        guard let top = identity.chain.last else { return false }
        return roots.contains { top.isSigned(by: $0) || top == $0 }
    }
}
