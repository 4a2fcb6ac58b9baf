import Bytes
import GRPC
import MeshIdentity
import TLS

/// Who called the mesh's port, proven by a certificate.
enum MeshPeer: Hashable {
    /// A node, by the cluster's authority.
    case node(String)
    /// A workload, by the mesh's authority.
    case workload(SPIFFEIdentity)

    /// What the cluster's authority calls nodes, and the group that they are in.
    private static let nodePrefix = "system:node:"
    private static let nodeGroup = "system:nodes"

    /// - Parameter peer: Of a session that trusts both authorities.
    /// - Throws: UNAUTHENTICATED with what was wrong.
    init(
        _ peer: TLSSession.Peer?, cluster: [Certificate], trustDomain: String, now: Timestamp = .now()
    ) throws(GRPCEnding) {
        guard let leaf = peer?.chain.first, peer?.isTrusted ?? false else {
            throw GRPCEnding(
                .unauthenticated,
                "show a client certificate: a node's of the cluster's authority, or a workload's of the mesh's")
        }
        // A session may be resumed after its certificate's time.
        guard leaf.notAfter > now else {
            throw GRPCEnding(.unauthenticated, "the client certificate expired at \(leaf.notAfter.rfc3339)")
        }
        if cluster.contains(where: { leaf.isSigned(by: $0) }) {
            let subject = leaf.subject
            guard subject.organizations.contains(Self.nodeGroup), subject.commonName.hasPrefix(Self.nodePrefix),
                subject.commonName.utf8.count > Self.nodePrefix.utf8.count
            else {
                throw GRPCEnding(
                    .unauthenticated,
                    "user \"\(subject.commonName)\" is no node: its name must be system:node:NAME, and it must be in"
                        + " group system:nodes")
            }
            self = .node(String(subject.commonName.dropFirst(Self.nodePrefix.count)))
            return
        }
        guard let identity = SPIFFEIdentity(leaf) else {
            throw GRPCEnding(
                .unauthenticated,
                "the client certificate names no workload; its names are \"\(leaf.alternativeNames.uris.joined(separator: " "))\""
            )
        }
        guard identity.trustDomain == trustDomain else {
            throw GRPCEnding(.unauthenticated, "\(identity) is of another trust domain than \(trustDomain)")
        }
        self = .workload(identity)
    }
}
