import ClusterAPI
import GRPC
import MeshIdentity
import TLS

/// Whose certificate may be given to whom. Pure.
struct CertificateGrant: Hashable {
    var identity: SPIFFEIdentity
    /// For whom a node asks; nil for a workload that asks for itself.
    var pod: ObjectKey?

    /// What is asked for, before anything is known of pods.
    struct Wish: Hashable {
        var identity: SPIFFEIdentity
        var pod: ObjectKey
        var uid: String
    }

    /// - Returns: What a node wants; nil for a workload, whose certificate says it.
    static func wish(_ request: CertificateCall.Request, of peer: MeshPeer) throws(GRPCEnding) -> Wish? {
        let named = request.metadata[CertificateCall.Metadata.impersonated] ?? ""
        guard case .node(let node) = peer else {
            if case .workload(let identity) = peer, !named.isEmpty, named != "\(identity)" {
                throw GRPCEnding(
                    .permissionDenied, "\(identity) may have a certificate for itself, not for \(named)")
            }
            return nil
        }
        guard let identity = SPIFFEIdentity(named) else {
            throw GRPCEnding(
                .invalidArgument,
                "node \(node) must say for whom it asks: ImpersonatedIdentity is \"\(named)\", which is no"
                    + " spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
        }
        func metadata(_ name: String) throws(GRPCEnding) -> String {
            guard let value = request.metadata[name], !value.isEmpty else {
                throw GRPCEnding(.invalidArgument, "node \(node) asks for \(identity) without \(name)")
            }
            return value
        }
        let pod = ObjectKey(
            namespace: try metadata(CertificateCall.Metadata.podNamespace),
            name: try metadata(CertificateCall.Metadata.podName))
        guard pod.namespace == identity.namespace else {
            throw GRPCEnding(.permissionDenied, "pod \(pod) cannot be \(identity): that is another namespace's")
        }
        return Wish(identity: identity, pod: pod, uid: try metadata(CertificateCall.Metadata.podUID))
    }

    /// Whether a node may have what it wants for a pod, as the cluster knows it; nil for a pod that does not exist.
    init(_ wish: Wish, node: String, pod: MeshPod?, trustDomain: String) throws(GRPCEnding) {
        func refusal(_ why: String) -> GRPCEnding {
            GRPCEnding(.permissionDenied, "node \(node) may not have \(wish.identity) for pod \(wish.pod): \(why)")
        }
        guard wish.identity.trustDomain == trustDomain else { throw refusal("the trust domain is \(trustDomain)") }
        guard let pod else { throw refusal("there is no such pod") }
        guard pod.uid == wish.uid else {
            throw refusal("the pod of that name has uid \(pod.uid), not \(wish.uid): it is another one")
        }
        guard pod.node == node else {
            throw refusal(pod.node.isEmpty ? "it is bound to no node yet" : "it is bound to node \(pod.node)")
        }
        guard pod.account == wish.identity.serviceAccount else {
            throw refusal("its service account is \(pod.account)")
        }
        guard !pod.isOver else { throw refusal("it has ended") }
        (self.identity, self.pod) = (wish.identity, wish.pod)
    }

    /// What a workload may have: its own.
    init(_ identity: SPIFFEIdentity) { self.identity = identity }

    /// The request's key, with no other name than the granted one.
    func key(of csr: String) throws(GRPCEnding) -> PublicKey {
        let request: CertificateRequest
        do throws(TLSError) { request = try CertificateRequest(pem: csr) } catch {
            throw GRPCEnding(.invalidArgument, "the certificate request cannot be used: \(error)")
        }
        let names = request.names
        guard names.dns.isEmpty, names.addresses.isEmpty, names.emails.isEmpty, names.others.isEmpty,
            names.uris.allSatisfy({ $0 == "\(identity)" })
        else {
            throw GRPCEnding(
                .permissionDenied,
                "the certificate request asks for other names than \(identity):"
                    + " \((names.dns + names.uris + names.addresses.map(\.description) + names.emails).joined(separator: " "))"
            )
        }
        return request.publicKey
    }
}
