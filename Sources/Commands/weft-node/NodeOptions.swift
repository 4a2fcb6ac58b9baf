import Bytes
import ClusterClient
import Glibc
import JSON
import PodNetwork
import Reactor
import Telemetry
import YAML

/// What this node is to be: flags and config file, read and checked.
struct NodeOptions: Sendable {
    enum Role: String, CaseIterable, Sendable {
        case kubelet
        case podNetwork = "pod-network"
        case serviceProxy = "service-proxy"
        case policy
    }

    var kubeConfig: KubeConfig
    var nodeName: String
    var nodeAddress: IPAddress
    var roles: Set<Role>
    var stateDirectory: String
    var runDirectory: String
    var logDirectory: String
    var podCIDR: CIDR?
    var clusterCIDRs: [CIDR]
    var backend: Backend
    var clusterDNS: [String]
    var clusterDomain: String
    /// Nil: where the API server is.
    var meshAddress: String?
    var port: UInt16
    var health: SocketAddress
    /// The client certificate is renewed before it ends.
    var rotatesCertificates: Bool
    var certificateFile: String?
    var keyFile: String?
    var clientAuthorityFile: String?
    var labels: [String: String]
    var cgroupRoot: String
    var hiddenPaths: [String]
    var logLevel: Log.Level
    var logFormat: Log.Format
    var serviceProxy: ServiceProxyOptions
    /// What no policy allows is answered with an ICMP error.
    var rejectsDenied: Bool

    /// All pods of the cluster, unless somebody says otherwise.
    static let standardClusterCIDR = "10.244.0.0/16"

    /// A setting that cannot be used, named as the user wrote it.
    struct Invalid: Error, CustomStringConvertible {
        var description: String
    }

    init(_ flags: NodeFlags, _ settings: NodeSettings, _ serviceProxy: ServiceProxyOptions) throws {
        func text(_ flag: String?, _ name: String) throws -> String? { try flag ?? settings.text(name) }
        func list(_ flag: String?, _ name: String) throws -> [String]? {
            try text(flag, name)?.split(separator: ",").map { String($0) }
        }
        self.serviceProxy = serviceProxy
        let configured = serviceProxy.configuration
        let path = try text(flags.kubeconfig, "kubeconfig") ?? configured.clientConnection.kubeconfig
        kubeConfig = try Self.kubeConfig(path, master: serviceProxy.master)
        nodeName =
            try text(flags.nodeName, "node-name")
            ?? (configured.hostnameOverride.isEmpty ? Self.hostName() : configured.hostnameOverride)
        // A KubeProxyConfiguration tells of nothing but a kube-proxy.
        let standardRole = serviceProxy.isFromFile ? Role.serviceProxy.rawValue : "all"
        roles = try Self.roles(list(flags.roles, "roles") ?? [standardRole])
        stateDirectory = try text(flags.stateDir, "state-dir") ?? "/var/lib/weft/node"
        runDirectory = try text(flags.runDir, "run-dir") ?? "/run/weft/node"
        logDirectory = try text(flags.logDir, "log-dir") ?? "/var/log"
        for (name, path) in [("state-dir", stateDirectory), ("run-dir", runDirectory), ("log-dir", logDirectory)] {
            guard path.hasPrefix("/"), path.utf8.count > 1 else {
                throw Invalid(description: "--\(name) must be an absolute path, not \"\(path)\"")
            }
        }
        podCIDR = try text(flags.podCidr, "pod-cidr").map { try Self.cidr($0, "pod-cidr") }
        clusterCIDRs = try (list(flags.clusterCidr, "cluster-cidr") ?? [Self.standardClusterCIDR]).map {
            try Self.cidr($0, "cluster-cidr")
        }
        let backendName = try text(flags.backend, "backend") ?? Backend.vxlan.rawValue
        guard let backend = Backend(rawValue: backendName) else {
            throw Invalid(description: "--backend must be vxlan or host-gw, not \"\(backendName)\"")
        }
        self.backend = backend
        let denied = try text(flags.policyDenied, "policy-denied") ?? "drop"
        guard ["drop", "reject"].contains(denied) else {
            throw Invalid(description: "--policy-denied must be drop or reject, not \"\(denied)\"")
        }
        rejectsDenied = denied == "reject"
        clusterDNS = try list(flags.clusterDns, "cluster-dns") ?? ["10.96.0.10"]
        for server in clusterDNS where IPAddress(server) == nil {
            throw Invalid(description: "--cluster-dns must be IP addresses, not \"\(server)\"")
        }
        clusterDomain = try text(flags.clusterDomain, "cluster-domain") ?? "cluster.local"
        meshAddress = try text(flags.meshAddress, "mesh-address")
        let portText = try flags.port.map(String.init) ?? settings.text("port") ?? "10250"
        guard let port = UInt16(portText), port > 0 else {
            throw Invalid(description: "--port must be 1 to 65535, not \"\(portText)\"")
        }
        self.port = port
        let healthText = try text(flags.healthzBindAddress, "healthz-bind-address") ?? "127.0.0.1:10248"
        guard let health = SocketAddress(healthText) else {
            throw Invalid(description: "--healthz-bind-address must be ADDRESS:PORT, not \"\(healthText)\"")
        }
        self.health = health
        let rotation = try flags.rotateCertificates.map { "\($0)" } ?? settings.text("rotate-certificates") ?? "true"
        guard let rotates = Bool(rotation) else {
            throw Invalid(description: "--rotate-certificates must be true or false, not \"\(rotation)\"")
        }
        rotatesCertificates = rotates
        certificateFile = try text(flags.tlsCertFile, "tls-cert-file")
        keyFile = try text(flags.tlsPrivateKeyFile, "tls-private-key-file")
        guard (certificateFile == nil) == (keyFile == nil) else {
            throw Invalid(description: "--tls-cert-file and --tls-private-key-file go together")
        }
        clientAuthorityFile = try text(flags.clientCaFile, "client-ca-file")
        var labels: [String: String] = [:]
        for pair in try list(flags.nodeLabels, "node-labels") ?? [] {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Invalid(description: "--node-labels: \"\(pair)\" is not key=value")
            }
            labels[String(parts[0])] = String(parts[1])
        }
        self.labels = labels
        cgroupRoot = try text(flags.cgroupRoot, "cgroup-root") ?? "/"
        hiddenPaths = try list(flags.hiddenPaths, "hidden-paths") ?? []
        logFormat = configured.logging.format == .json ? .json : .text
        let levelName =
            try text(flags.logLevel, "log-level")
            ?? (configured.logging.verbosity >= Self.detailedVerbosity ? "debug" : "info")
        guard let level = Log.Level.allCases.first(where: { "\($0)" == levelName }) else {
            throw Invalid(description: "--log-level must be error, warning, info or debug, not \"\(levelName)\"")
        }
        logLevel = level
        if let address = try text(flags.nodeIp, "node-ip") {
            guard let parsed = IPAddress(address) else {
                throw Invalid(description: "--node-ip must be an IP address, not \"\(address)\"")
            }
            nodeAddress = parsed
        } else if roles == [.serviceProxy] {
            // Only for want of one in the Node object; kube-proxy takes loopback then, too.
            nodeAddress = (try? Self.addressTowards(kubeConfig.server)) ?? .loopbackV4
        } else {
            nodeAddress = try Self.addressTowards(kubeConfig.server)
        }
    }

    /// What tells a process in a pod where the API server is.
    private static var podEnvironment: [String: String] {
        var environment: [String: String] = [:]
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            if let value = getenv(name) { environment[name] = String(cString: value) }
        }
        return environment
    }

    /// klog's level of "what happens, for those who look for a reason".
    private static let detailedVerbosity = 4

    /// From a file, from `--master` alone, or from the pod that we run in.
    private static func kubeConfig(_ path: String, master: String?) throws -> KubeConfig {
        var config: KubeConfig
        if path.isEmpty {
            if let master { return KubeConfig(server: master) }
            guard let own = try KubeConfig.inCluster(environment: podEnvironment) else {
                throw Invalid(description: "--kubeconfig is missing: the file that says where the API server is")
            }
            return own
        }
        do {
            let document = try YAML.parse(try Files.readText(path, limit: 1 << 20))
            let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
            config = try KubeConfig(document: document, directory: folder)
        } catch {
            throw Invalid(description: "--kubeconfig \(path): \(error)")
        }
        if let master { config.server = master }
        return config
    }

    private static func roles(_ names: [String]) throws -> Set<Role> {
        if names == ["all"] { return Set(Role.allCases) }
        return Set(
            try names.map { name in
                guard let role = Role(rawValue: name) else {
                    throw Invalid(
                        description: "--roles: \"\(name)\" is none of kubelet, pod-network, service-proxy, policy, all")
                }
                return role
            })
    }

    private static func cidr(_ text: String, _ name: String) throws -> CIDR {
        guard let cidr = CIDR(text) else {
            throw Invalid(description: "--\(name) must be a prefix like 10.244.1.0/24, not \"\(text)\"")
        }
        return cidr
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, 255)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
    }

    /// The address that this machine would use to reach a URL's host, which has to be an address itself.
    private static func addressTowards(_ server: String) throws -> IPAddress {
        let missing = Invalid(description: "--node-ip is missing, and cannot be told from server \"\(server)\"")
        guard let scheme = server.firstRange(of: "://") else { throw missing }
        let authority = server[scheme.upperBound...].prefix { $0 != "/" }
        let host =
            authority.hasPrefix("[") ? authority.dropFirst().prefix { $0 != "]" } : authority.prefix { $0 != ":" }
        guard let address = IPAddress(host), let v4 = address.v4 else { throw missing }
        // Connecting a datagram socket sends nothing; it only looks up the route.
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
        guard fd >= 0 else { throw missing }
        defer { close(fd) }
        var peer = sockaddr_in()
        peer.sin_family = sa_family_t(AF_INET)
        peer.sin_port = UInt16(6443).bigEndian
        peer.sin_addr.s_addr = v4.bigEndian
        var own = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let found = withUnsafeMutablePointer(to: &peer) { peer in
            peer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(fd, $0, length) }
        }
        let named = withUnsafeMutablePointer(to: &own) { own in
            own.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
        }
        guard found == 0, named == 0 else { throw missing }
        return IPAddress(v4: UInt32(bigEndian: own.sin_addr.s_addr))
    }
}
