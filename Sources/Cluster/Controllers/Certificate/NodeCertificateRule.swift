import Bytes
import ClusterAPI
import ClusterClient
import JSON
import TLS

/// A CertificateSigningRequest for a node's certificate, and whether it is one that may be granted: pure.
struct NodeCertificateRule {
    /// Upstream's signer of what kubelets show to the API server.
    static let client = "kubernetes.io/kube-apiserver-client-kubelet"
    /// Of what weft-node shows there and on its own port, as `weft-control issue-node-kubeconfig` makes it.
    static let node = "weft.dev/node"
    static let signers: Set<String> = [client, node]

    private static let prefix = "system:node:"
    private static let group = "system:nodes"

    let request: CertificateRequest
    let purpose: CertificateTemplate.Purpose
    /// The node asks for its own: who asks is what the certificate will say, and it is not the word of him who asks.
    let isOwn: Bool

    /// Why it is not what its signer signs.
    struct Refusal: Error, Hashable, CustomStringConvertible {
        var description: String
    }

    /// - Parameter object: Of one of `signers`.
    init(_ object: KubeObject) throws(Refusal) {
        let spec = object.spec
        let isNode = spec.text("signerName") == Self.node
        guard let bytes = Base64.decode(spec.text("request")) else {
            throw Refusal(description: "spec.request is no base64")
        }
        do throws(TLSError) { request = try CertificateRequest(pem: String(decoding: bytes, as: UTF8.self)) } catch {
            throw Refusal(description: "spec.request: \(error)")
        }
        let (name, groups) = (request.subject.commonName, request.subject.organizations)
        guard groups == [Self.group] else {
            throw Refusal(description: "the organization must be \(Self.group) alone, not \(groups)")
        }
        guard name.hasPrefix(Self.prefix), name.utf8.count > Self.prefix.utf8.count else {
            throw Refusal(description: "the common name must be system:node:NAME, not \"\(name)\"")
        }
        guard request.names.isEmpty else { throw Refusal(description: "no alternative names are allowed") }
        let usages = Set(spec.list("usages").compactMap(\.string))
        let needed: Set<String> = isNode ? ["client auth", "server auth"] : ["client auth"]
        guard usages.isSuperset(of: needed),
            usages.isSubset(of: needed.union(["digital signature", "key encipherment"]))
        else {
            throw Refusal(
                description: "the usages must be digital signature and \(needed.sorted().joined(separator: " and "))")
        }
        purpose = isNode ? .peer : .client
        isOwn =
            spec.text("username") == name && spec.list("groups").contains(.string(Self.group))
    }
}
