import Bytes
import Reactor
import TLS

/// What the node's server shows, and whom it trusts to sign its clients' certificates.
struct ServerCertificate {
    private let options: NodeOptions

    init(_ options: NodeOptions) { self.options = options }

    /// - Parameter renewed: What the node shows as a client, if that is not its kubeconfig's any more.
    func context(own renewed: TLSIdentity? = nil) throws -> TLSContext {
        let authority =
            if let file = options.clientAuthorityFile {
                try Files.readText(file, limit: 1 << 20)
            } else {
                String(decoding: options.kubeConfig.certificateAuthority, as: UTF8.self)
            }
        guard !authority.isEmpty else {
            throw NodeOptions.Invalid(description: "--client-ca-file is missing, and the kubeconfig names no authority")
        }
        return try TLSContext(
            serving: [try identity(own: renewed)], clientCertificates: .requested, trust: TrustPool(pem: authority),
            protocols: ["h2", "http/1.1"])
    }

    private func identity(own renewed: TLSIdentity?) throws -> TLSIdentity {
        if let certificate = options.certificateFile, let key = options.keyFile {
            return try TLSIdentity(
                certificatePEM: Files.readText(certificate, limit: 1 << 20), keyPEM: Files.readText(key, limit: 1 << 20)
            )
        }
        // The node's own client certificate serves, too, when it was issued for that (`weft-control issue-node-kubeconfig`).
        if let renewed { return renewed }
        let own = options.kubeConfig
        if !own.clientCertificate.isEmpty {
            return try TLSIdentity(
                certificatePEM: String(decoding: own.clientCertificate, as: UTF8.self),
                keyPEM: String(decoding: own.clientKey, as: UTF8.self))
        }
        let authority = try CertificateAuthority.create(commonName: "\(options.nodeName)-ca")
        return try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(
                    commonName: "system:node:\(options.nodeName)", organizations: ["system:nodes"]),
                names: AlternativeNames(dns: [options.nodeName], addresses: [options.nodeAddress]), purpose: .server))
    }
}
