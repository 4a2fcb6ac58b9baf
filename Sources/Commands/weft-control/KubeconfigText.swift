import Bytes
import TLS

/// A kubeconfig file with everything inside it, so that it can be copied to where it is needed.
enum KubeconfigText {
    static func make(
        server: String, authority: Certificate, user: String, identity: TLSIdentity, cluster: String = "weft"
    )
        -> String
    {
        """
        apiVersion: v1
        kind: Config
        current-context: \(cluster)
        clusters:
        - name: \(cluster)
          cluster:
            server: \(server)
            certificate-authority-data: \(Base64.encode(authority.pem.utf8))
        contexts:
        - name: \(cluster)
          context:
            cluster: \(cluster)
            user: "\(user)"
        users:
        - name: "\(user)"
          user:
            client-certificate-data: \(Base64.encode(identity.leaf.pem.utf8))
            client-key-data: \(Base64.encode(identity.key.pem.utf8))

        """
    }
}
