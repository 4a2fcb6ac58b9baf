public import Bytes
import MeshIdentity
public import TLS

/// What signs the certificates of workloads: an issuing certificate with its key, what leads from it to its root, and every root that
/// is trusted at this time.
public struct MeshAuthority: Sendable {
    public let issuer: CertificateAuthority
    /// The issuer's own is the first.
    public let roots: [Certificate]

    /// Why an authority cannot be used, with the file that is to be looked at.
    public struct Invalid: Error, Hashable, CustomStringConvertible {
        public var description: String
        init(_ description: String) { self.description = description }
    }

    /// - Parameters:
    ///   - chain: What leads from the issuer to a root, in any order; the issuer itself and roots may be among it, as in Istio's
    ///     `cert-chain.pem`.
    ///   - roots: All that are to be trusted.
    ///   - now: Nil does not ask whether anything is out of date: `certify` does, each time.
    /// - Throws: What does not fit, by the names of Istio's files.
    public init(
        certificate: Certificate, key: PrivateKey, chain: [Certificate], roots: [Certificate], now: Timestamp? = .now()
    ) throws(Invalid) {
        guard certificate.matches(key) else {
            throw Invalid("ca-key.pem is not the key of ca-cert.pem (\(certificate.subject))")
        }
        guard certificate.isAuthority else {
            throw Invalid("ca-cert.pem (\(certificate.subject)) may not sign others: it is no CA:TRUE")
        }
        try Self.mustBeValid(certificate, "ca-cert.pem", now)
        var intermediates: [Certificate] = []
        var top = certificate
        let known = chain.filter { $0 != certificate }
        while !roots.contains(where: { top == $0 || top.isSigned(by: $0) }) {
            guard let next = known.first(where: { top.isSigned(by: $0) && !intermediates.contains($0) && $0 != top })
            else {
                throw Invalid(
                    "cert-chain.pem leads to no root of root-cert.pem: \"\(top.subject)\" was signed by"
                        + " \"\(top.issuer)\", which is in neither")
            }
            try Self.mustBeValid(next, "cert-chain.pem", now)
            intermediates.append(next)
            top = next
        }
        guard let root = roots.first(where: { top == $0 || top.isSigned(by: $0) }) else {
            throw Invalid("root-cert.pem holds no certificate")
        }
        try Self.mustBeValid(root, "root-cert.pem", now)
        for other in roots where !other.isAuthority {
            throw Invalid("root-cert.pem: \"\(other.subject)\" may not sign others: it is no CA:TRUE")
        }
        do throws(TLSError) {
            issuer = try CertificateAuthority(certificate: certificate, key: key, intermediates: intermediates)
        } catch { throw Invalid("ca-cert.pem: \(error)") }
        self.roots = [root] + roots.filter { $0 != root }
    }

    public var root: Certificate { roots[0] }

    private static func mustBeValid(_ certificate: Certificate, _ file: String, _ now: Timestamp?) throws(Invalid) {
        guard let now else { return }
        guard certificate.notAfter > now else {
            throw Invalid(
                "\(file): \"\(certificate.subject)\" expired at \(certificate.notAfter.rfc3339)")
        }
        guard certificate.notBefore <= now else {
            throw Invalid(
                "\(file): \"\(certificate.subject)\" is valid from \(certificate.notBefore.rfc3339) only, and it is"
                    + " \(now.rfc3339) here")
        }
    }

    /// A workload's certificate. It ends with the authority's own at the latest.
    ///
    /// - Parameter lifetime: Seconds.
    func certify(
        _ key: PublicKey, as identity: SPIFFEIdentity, lifetime: Int64, now: Timestamp = .now()
    ) throws(TLSError) -> Certificate {
        var template = CertificateTemplate(
            subject: DistinguishedName(commonName: ""), names: AlternativeNames(uris: ["\(identity)"]), purpose: .peer,
            lifetime: lifetime, now: now)
        template.notAfter = min(template.notAfter, issuer.certificate.notAfter)
        guard issuer.certificate.notBefore <= now else {
            throw TLSError(
                .configuration,
                "the mesh's authority is valid from \(issuer.certificate.notBefore.rfc3339) on, and it is"
                    + " \(now.rfc3339) here: look at this machine's clock")
        }
        guard template.notAfter > now else {
            throw TLSError(
                .configuration, "the mesh's authority expired at \(issuer.certificate.notAfter.rfc3339)")
        }
        return try issuer.issue(template, for: key)
    }

    /// What a workload is answered: its certificate, what leads to its root, and last all roots together.
    func answer(_ leaf: Certificate) -> CertificateCall.Response {
        CertificateCall.Response(
            chain: ([leaf] + issuer.chain).map(\.pem) + [roots.map(\.pem).joined()])
    }
}
