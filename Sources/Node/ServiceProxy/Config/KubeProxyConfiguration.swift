public import Bytes

/// A `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1) with every default in its place, as the service proxy
/// works by it.
///
/// Each field of a file is either here, or named in `docs/service-proxy.md` as one that changes nothing in nftables mode,
/// or refused by name when the file is read.
public struct KubeProxyConfiguration: Sendable, Equatable {
    public static let group = "kubeproxy.config.k8s.io"
    public static let apiVersion = "\(group)/v1alpha1"
    public static let kind = "KubeProxyConfiguration"

    public struct ClientConnection: Sendable, Equatable {
        /// Empty: the service account of the pod that we run in.
        public var kubeconfig = ""
        public var acceptContentTypes = ""
        /// Of what is sent. The client speaks JSON, which every API server takes.
        public var contentType = "application/vnd.kubernetes.protobuf"
        /// Requests a second; negative for no limit.
        public var qps = 5.0
        public var burst = 10
    }

    public struct Logging: Sendable, Equatable {
        public enum Format: String, Sendable { case text, json }
        public var format = Format.text
        /// klog's: from 4 on details are logged.
        public var verbosity = 0
    }

    /// 0 leaves the kernel's setting as it is.
    public struct Conntrack: Sendable, Equatable {
        public var maxPerCore = 32768
        public var min = 131_072
        public var tcpEstablishedTimeout: Duration = .seconds(86400)
        public var tcpCloseWaitTimeout: Duration = .seconds(3600)
        public var tcpBeLiberal = false
        public var udpTimeout: Duration = .zero
        public var udpStreamTimeout: Duration = .zero
    }

    public enum LocalMode: String, Sendable {
        case clusterCIDR = "ClusterCIDR"
        case nodeCIDR = "NodeCIDR"
        case bridgeInterface = "BridgeInterface"
        case interfaceNamePrefix = "InterfaceNamePrefix"
    }

    public enum NodePorts: Sendable, Equatable {
        /// `["primary"]`, and what an empty list means in nftables mode.
        case primary
        case prefixes([CIDR])
    }

    public var featureGates = FeatureGates()
    public var clientConnection = ClientConnection()
    public var logging = Logging()
    /// Empty: the machine's host name.
    public var hostnameOverride = ""
    /// Our idea of the node's primary address, where it is not 0.0.0.0 or ::. Nothing binds to it.
    public var bindAddress = IPAddress.anyV4
    /// nil serves none; only a flag can say so.
    public var healthzBindAddress: SocketAddress? = .ip(.anyV4, Self.healthzPort)
    /// nil serves none; only a flag can say so.
    public var metricsBindAddress: SocketAddress? = .ip(.loopbackV4, Self.metricsPort)
    public var bindAddressHardFail = false
    public var showHiddenMetricsForVersion = ""
    public var masqueradeBit = 14
    public var masqueradeAll = false
    /// A queued change that is older than twice this makes us unhealthy.
    public var syncPeriod: Duration = .seconds(30)
    /// nil is the default: Weft's own pace, which is faster than the 1 s that others need.
    public var minSyncPeriod: Duration?
    public var detectLocalMode = LocalMode.clusterCIDR
    public var bridgeInterface = ""
    public var interfaceNamePrefix = ""
    /// At most one for each family.
    public var clusterCIDRs: [CIDR] = []
    public var nodePorts = NodePorts.primary
    public var oomScoreAdj = -999
    public var conntrack = Conntrack()
    public var configSyncPeriod: Duration = .seconds(900)
    /// Things that were accepted and have no effect, as sentences for the log.
    public var remarks: [String] = []

    static let healthzPort: Port = 10256
    static let metricsPort: Port = 10249

    public init() {}
}

extension KubeProxyConfiguration {
    /// What the proxy is to do on a node.
    ///
    /// - Parameters:
    ///   - node: who we are.
    ///   - address: the node's own address, for want of a better one in its Node object.
    public func proxyConfiguration(_ node: NodeIdentity, address: IPAddress? = nil) -> ServiceProxyConfiguration {
        var configuration = ServiceProxyConfiguration(node: node)
        configuration.localDetector =
            switch detectLocalMode {
            case .bridgeInterface: .bridgeInterface(bridgeInterface)
            case .interfaceNamePrefix: .interfaceNamePrefix(interfaceNamePrefix)
            case .nodeCIDR: .nodePrefixes
            case .clusterCIDR: clusterCIDRs.isEmpty ? .none : .prefixes(clusterCIDRs)
            }
        switch nodePorts {
        case .primary: configuration.nodePortAddresses = .primary
        case .prefixes(let prefixes):
            let isEverything = prefixes.allSatisfy { $0.prefixLength == 0 }
            configuration.nodePortAddresses = isEverything ? .all : .prefixes(prefixes)
        }
        configuration.nodeAddress = address
        configuration.nodeAddressOverride = bindAddress.isUnspecified ? nil : bindAddress
        configuration.masqueradesAll = masqueradeAll
        configuration.masqueradeMark = 1 << UInt32(masqueradeBit)
        configuration.allowsExternalIPs = featureGates[.allowServiceExternalIPs]
        if let minSyncPeriod { configuration.minimumSyncPeriod = minSyncPeriod }
        configuration.patience = syncPeriod * 2
        configuration.healthzAddress = healthzBindAddress
        configuration.metricsAddress = metricsBindAddress
        configuration.bindFailureIsFatal = bindAddressHardFail
        configuration.configz = configz
        return configuration
    }

    /// As above, of a node whose object is at hand: nothing is left to follow.
    ///
    /// - Parameters:
    ///   - nodePrefixes: the node's own pod prefixes, for `detectLocalMode: NodeCIDR`.
    ///   - primary: the node's primary addresses, for node ports.
    public func configuration(_ node: NodeIdentity, nodePrefixes: [CIDR], primary: [IPAddress])
        -> ServiceProxyConfiguration
    {
        var configuration = proxyConfiguration(node)
        if case .nodePrefixes = configuration.localDetector { configuration.localDetector = .prefixes(nodePrefixes) }
        if case .primary = configuration.nodePortAddresses { configuration.nodePortAddresses = .addresses(primary) }
        return configuration
    }
}
