import ClusterClient
import Reactor
import TLS
import Telemetry

/// The node's client certificate over the years: what its kubeconfig has at first, and what it is given later.
enum NodeCertificate {
    /// Kubelet's name for it.
    private static let file = "/pki/kubelet-client-current.pem"

    /// The newest that the node has; nil where its kubeconfig has none, or somebody else's, or it shall stay as it is.
    static func current(_ options: NodeOptions) throws -> TLSIdentity? {
        let config = options.kubeConfig
        guard options.rotatesCertificates, !config.clientCertificate.isEmpty else { return nil }
        let own = try TLSIdentity(
            certificatePEM: String(decoding: config.clientCertificate, as: UTF8.self),
            keyPEM: String(decoding: config.clientKey, as: UTF8.self))
        guard own.leaf.subject.commonName.hasPrefix("system:node:") else { return nil }
        let authorities =
            config.certificateAuthority.isEmpty
            ? [] : try Certificate.chain(pem: String(decoding: config.certificateAuthority, as: UTF8.self))
        return ClientCertificateRotation.kept(
            in: options.stateDirectory + file, insteadOf: own, authorities: authorities) ?? own
    }

    static func rotation(
        _ identity: TLSIdentity, _ options: NodeOptions, _ client: KubeClient, log: Log
    ) throws -> ClientCertificateRotation {
        try Files.makeDirectories(options.stateDirectory + "/pki", mode: 0o700)
        return ClientCertificateRotation(client, identity, .node, file: options.stateDirectory + file, log: log)
    }
}
