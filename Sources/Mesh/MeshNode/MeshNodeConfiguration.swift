public import ClusterClient
public import HTTP
public import TLS

/// Where a node's certificates come from, and what it shows to get them.
public struct MeshNodeConfiguration: Sendable {
    /// The control plane's port for the mesh (Istio's).
    public static let port: UInt16 = 15012

    public var trustDomain = "cluster.local"
    /// Records of pods are kept here, so that their sockets come back with this process.
    public var recordDirectory: String
    /// The control plane.
    public var control: HTTPEndpoint
    /// Who may have signed the control plane's certificate; nil: the system's authorities.
    public var authorities: TrustPool?
    /// What this node shows: its user is `system:node:NAME`.
    public var identity: TLSIdentity
    /// How long certificates are asked for, seconds; 0 leaves it to the control plane.
    public var lifetime: Int64 = 0

    /// What keeps a node from serving the mesh, for people.
    public struct Invalid: Error, CustomStringConvertible {
        public var description: String
    }

    public init(recordDirectory: String, control: HTTPEndpoint, authorities: TrustPool?, identity: TLSIdentity) {
        (self.recordDirectory, self.control, self.authorities, self.identity) =
            (recordDirectory, control, authorities, identity)
    }

    /// By the node's kubeconfig: its client certificate, and the API server's host with the mesh's port.
    ///
    /// - Parameter address: `HOST:PORT` or `HOST` of the control plane where it is another.
    public init(_ config: KubeConfig, address: String? = nil, recordDirectory: String) throws {
        guard !config.clientCertificate.isEmpty else {
            throw Invalid(
                description:
                    "the kubeconfig has no client certificate, by which alone the mesh's authority knows a node"
                    + " (weft-control issue-node-kubeconfig writes one that has)")
        }
        guard let server = HTTPEndpoint(config.server), case .host(let host, _) = server.place else {
            throw Invalid(description: "server \"\(config.server)\" is not a URL like https://10.0.0.1:6443")
        }
        var control = HTTPEndpoint(host: host, port: Self.port, isSecure: true)
        if let address {
            let hasPort = address.hasPrefix("[") ? address.contains("]:") : address.count { $0 == ":" } == 1
            let bare = address.contains("[") || address.count { $0 == ":" } < 2 ? address : "[\(address)]"
            guard let other = HTTPEndpoint("https://\(bare)\(hasPort ? "" : ":\(Self.port)")"), other.basePath.isEmpty
            else { throw Invalid(description: "the mesh's address must be HOST:PORT, not \"\(address)\"") }
            control = other
        }
        func text(_ pem: [UInt8]) -> String { String(decoding: pem, as: UTF8.self) }
        self.init(
            recordDirectory: recordDirectory, control: control,
            authorities: config.certificateAuthority.isEmpty
                ? nil : try TrustPool(pem: text(config.certificateAuthority)),
            identity: try TLSIdentity(certificatePEM: text(config.clientCertificate), keyPEM: text(config.clientKey)))
    }

    /// How the control plane is called, with the certificate of whom.
    func context(as identity: TLSIdentity) throws(TLSError) -> TLSContext {
        try TLSContext(connecting: authorities, identity: identity, protocols: ["h2"])
    }
}
