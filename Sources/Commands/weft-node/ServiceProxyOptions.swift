import Bytes
import JSON
import ServiceProxy

/// What the service proxy of this node is to be: a KubeProxyConfiguration from `--config`, or the flags as one.
struct ServiceProxyOptions: Sendable {
    var configuration: KubeProxyConfiguration
    /// It is all that the config file is about: a kube-proxy's place and nothing else.
    var isFromFile: Bool
    var removesKubeProxyTables: Bool
    /// Overrides the kubeconfig's server.
    var master: String?
    /// What was given and has no effect, as sentences for the log.
    var remarks: [String]

    init(_ flags: NodeFlags, _ settings: NodeSettings) throws {
        let own = flags.kubeProxy
        isFromFile = settings.kubeProxy != nil
        removesKubeProxyTables = own.removeKubeProxyTables ?? false
        master = own.master
        if let file = settings.kubeProxy {
            configuration = file
            var ignored = own.replacedByFile
            if flags.clusterCidr != nil { ignored.append("--cluster-cidr") }
            if flags.healthzBindAddress != nil { ignored.append("--healthz-bind-address") }
            remarks = file.remarks + ignored.map { "\($0) is ignored: --config says what to do" }
        } else {
            configuration = try Self.configuration(flags, settings)
            remarks = configuration.remarks
        }
        if let name = own.hostnameOverride?.lowercased() {
            guard !name.isEmpty, !name.contains(where: \.isWhitespace) else {
                throw NodeOptions.Invalid(description: "--hostname-override must be a node's name, not \"\(name)\"")
            }
            configuration.hostnameOverride = name
        }
        if let verbosity = own.verbosity {
            guard verbosity >= 0 else { throw NodeOptions.Invalid(description: "-v must not be negative") }
            configuration.logging.verbosity = verbosity
        }
        if let text = own.loggingFormat {
            guard let format = KubeProxyConfiguration.Logging.Format(rawValue: text) else {
                throw NodeOptions.Invalid(description: "--logging-format must be text or json, not \"\(text)\"")
            }
            configuration.logging.format = format
        }
    }

    private static func configuration(_ flags: NodeFlags, _ settings: NodeSettings) throws -> KubeProxyConfiguration {
        let own = flags.kubeProxy
        var document = try own.document()
        document["clusterCIDR"] = .string(
            try flags.clusterCidr ?? settings.text("cluster-cidr") ?? NodeOptions.standardClusterCIDR)
        // A node of ours answers on all of its addresses unless it is told otherwise.
        if own.nodeportAddresses == nil { document["nodePortAddresses"] = ["0.0.0.0/0", "::/0"] }
        let roles = try flags.roles ?? settings.text("roles")
        // With a kubelet beside, the flag is about that one's port.
        if roles == NodeOptions.Role.serviceProxy.rawValue, let address = flags.healthzBindAddress {
            document["healthzBindAddress"] = .string(address)
        }
        var configuration = try KubeProxyConfiguration(document, file: "command line")
        if let path = try flags.kubeconfig ?? settings.text("kubeconfig") {
            configuration.clientConnection.kubeconfig = path
        }
        // Only a flag can say that nothing is to be served.
        if own.metricsBindAddress == "" { configuration.metricsBindAddress = nil }
        configuration.healthzBindAddress = try moved(
            configuration.healthzBindAddress, to: own.healthzPort, "healthz-port")
        configuration.metricsBindAddress = try moved(
            configuration.metricsBindAddress, to: own.metricsPort, "metrics-port")
        return configuration
    }

    private static func moved(_ address: SocketAddress?, to port: Int?, _ flag: String) throws -> SocketAddress? {
        guard let port, case .ip(let ip, _, let scope) = address else { return address }
        guard let number = UInt16(exactly: port) else {
            throw NodeOptions.Invalid(description: "--\(flag) must be 0 to 65535, not \(port)")
        }
        return number == 0 ? nil : .ip(ip, Port(number), scope: scope)
    }
}
