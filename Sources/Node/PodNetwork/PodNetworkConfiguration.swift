import Bytes

/// What a node's pod network is told once, at start.
public struct PodNetworkConfiguration: Sendable {
    public var nodeName: String
    /// The node's own address: what other nodes send to, and what tells the underlay's interface.
    public var address: IPAddress
    public var backend: Backend
    /// All pods of the cluster: what is sent elsewhere leaves under the node's address.
    public var clusterPrefixes: [CIDR]
    public var vni: UInt32
    /// UDP port of the tunnel.
    public var port: UInt16
    /// Largest packet of pods; nil takes what the underlay allows.
    public var mtu: UInt32?
    /// Where the record of attachments is kept.
    public var stateDirectory: String
    /// The unix socket for `weft-cni`; nil for none.
    public var socket: String?
    /// How long a released address rests, in seconds.
    public var quarantine: Int64

    public init(
        nodeName: String, address: IPAddress, backend: Backend = .vxlan, clusterPrefixes: [CIDR],
        vni: UInt32 = 1, port: UInt16 = 8472, mtu: UInt32? = nil,
        stateDirectory: String = "/var/lib/weft/pod-network", socket: String? = CNIConfiguration.defaultSocket,
        quarantine: Int64 = 30
    ) {
        self.nodeName = nodeName
        self.address = address
        self.backend = backend
        self.clusterPrefixes = clusterPrefixes
        self.vni = vni
        self.port = port
        self.mtu = mtu
        self.stateDirectory = stateDirectory
        self.socket = socket
        self.quarantine = quarantine
    }
}
