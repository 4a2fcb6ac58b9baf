import Bytes
import ClusterClient
import Glibc
import JSON
import PodNetwork
import Reactor
import ServiceProxy
import Telemetry
import YAML

/// What this node is to be: flags and config file, read and checked.
struct NodeOptions: Sendable {
    enum Role: String, CaseIterable, Sendable {
        case kubelet
        case podNetwork = "pod-network"
        case serviceProxy = "service-proxy"
    }

    var kubeConfig: KubeConfig
    var kubeConfigPath: String
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
    var port: UInt16
    var health: SocketAddress
    var certificateFile: String?
    var keyFile: String?
    var clientAuthorityFile: String?
    var labels: [String: String]
    var cgroupRoot: String
    var hiddenPaths: [String]
    var logLevel: Log.Level
    /// Set when `--config` is a KubeProxyConfiguration instead of a mapping of our flags.
    var kubeProxy: KubeProxyConfiguration?

    /// A setting that cannot be used, named as the user wrote it.
    struct Invalid: Error, CustomStringConvertible {
        var description: String
    }

    init(_ flags: NodeFlags) throws {
        let settings = try Settings(flags.config)
        func text(_ flag: String?, _ name: String) throws -> String? { try flag ?? settings.text(name) }
        func list(_ flag: String?, _ name: String) throws -> [String]? {
            try text(flag, name)?.split(separator: ",").map { String($0) }
        }
        kubeProxy = settings.kubeProxy
        guard let path = try text(flags.kubeconfig, "kubeconfig") ?? kubeProxy?.kubeconfig else {
            throw Invalid(description: "--kubeconfig is missing: the file that says where the API server is")
        }
        kubeConfigPath = path
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let document: JSONValue
        do {
            document = try YAML.parse(try Files.readText(path, limit: 1 << 20))
        } catch {
            throw Invalid(description: "--kubeconfig \(path): \(error)")
        }
        kubeConfig = try KubeConfig(document: document, directory: folder)
        nodeName = try text(flags.nodeName, "node-name") ?? Self.hostName()
        roles = try Self.roles(list(flags.roles, "roles") ?? ["all"])
        stateDirectory = try text(flags.stateDir, "state-dir") ?? "/var/lib/weft/node"
        runDirectory = try text(flags.runDir, "run-dir") ?? "/run/weft/node"
        logDirectory = try text(flags.logDir, "log-dir") ?? "/var/log"
        for (name, path) in [("state-dir", stateDirectory), ("run-dir", runDirectory), ("log-dir", logDirectory)] {
            guard path.hasPrefix("/"), path.utf8.count > 1 else {
                throw Invalid(description: "--\(name) must be an absolute path, not \"\(path)\"")
            }
        }
        podCIDR = try text(flags.podCidr, "pod-cidr").map { try Self.cidr($0, "pod-cidr") }
        clusterCIDRs = try (list(flags.clusterCidr, "cluster-cidr") ?? ["10.244.0.0/16"]).map {
            try Self.cidr($0, "cluster-cidr")
        }
        let backendName = try text(flags.backend, "backend") ?? Backend.vxlan.rawValue
        guard let backend = Backend(rawValue: backendName) else {
            throw Invalid(description: "--backend must be vxlan or host-gw, not \"\(backendName)\"")
        }
        self.backend = backend
        clusterDNS = try list(flags.clusterDns, "cluster-dns") ?? ["10.96.0.10"]
        for server in clusterDNS where IPAddress(server) == nil {
            throw Invalid(description: "--cluster-dns must be IP addresses, not \"\(server)\"")
        }
        clusterDomain = try text(flags.clusterDomain, "cluster-domain") ?? "cluster.local"
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
        let levelName = try text(flags.logLevel, "log-level") ?? "info"
        guard let level = Log.Level.allCases.first(where: { "\($0)" == levelName }) else {
            throw Invalid(description: "--log-level must be error, warning, info or debug, not \"\(levelName)\"")
        }
        logLevel = level
        if let address = try text(flags.nodeIp, "node-ip") {
            guard let parsed = IPAddress(address) else {
                throw Invalid(description: "--node-ip must be an IP address, not \"\(address)\"")
            }
            nodeAddress = parsed
        } else {
            nodeAddress = try Self.addressTowards(kubeConfig.server)
        }
    }

    private static func roles(_ names: [String]) throws -> Set<Role> {
        if names == ["all"] { return Set(Role.allCases) }
        return Set(
            try names.map { name in
                guard let role = Role(rawValue: name) else {
                    throw Invalid(
                        description: "--roles: \"\(name)\" is none of kubelet, pod-network, service-proxy, all")
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

/// The config file: a YAML mapping from flag names to values. Unknown names are errors, so that a typing mistake is found.
private struct Settings {
    private let values: JSONObject
    private let path: String
    let kubeProxy: KubeProxyConfiguration?

    private static let names: Set<String> = [
        "kubeconfig", "node-name", "node-ip", "roles", "state-dir", "run-dir", "log-dir", "pod-cidr", "cluster-cidr",
        "backend", "cluster-dns", "cluster-domain", "port", "healthz-bind-address", "tls-cert-file",
        "tls-private-key-file",
        "client-ca-file", "node-labels", "cgroup-root", "hidden-paths", "log-level",
    ]

    init(_ path: String?) throws {
        self.path = path ?? ""
        guard let path else {
            (values, kubeProxy) = ([:], nil)
            return
        }
        do {
            let document = try YAML.parse(try Files.readText(path, limit: 1 << 20))
            if document["kind"]?.string == KubeProxyConfiguration.kind {
                (values, kubeProxy) = ([:], try KubeProxyConfiguration(document, file: path))
                return
            }
            kubeProxy = nil
            if case .null = document {
                values = [:]
                return
            }
            guard let object = document.object else {
                throw NodeOptions.Invalid(description: "must be a mapping from settings to values")
            }
            values = object
        } catch {
            throw NodeOptions.Invalid(description: "--config \(path): \(error)")
        }
        for name in values.keys where !Self.names.contains(name) {
            throw NodeOptions.Invalid(description: "--config \(path): there is no setting \"\(name)\"")
        }
    }

    /// A setting as the flag would give it; lists are joined with commas.
    func text(_ name: String) throws -> String? {
        switch values[name] {
        case nil, .null: return nil
        case .string(let text): return text
        case .int(let number): return String(number)
        case .array(let items):
            let texts = items.compactMap(\.string)
            guard texts.count == items.count else { break }
            return texts.joined(separator: ",")
        default: break
        }
        throw NodeOptions.Invalid(
            description: "--config \(path): setting \"\(name)\" must be text, a number, or a list of texts")
    }
}
