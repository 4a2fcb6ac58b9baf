import APIServer
import Bytes
import ClusterAPI
import JSON
import MeshAPI
import MeshControl
import Reactor
import YAML

/// What the control plane runs with: defaults, then the config file, then flags.
struct ControlSettings: Sendable {
    var dataDirectory = "/var/lib/weft/control"
    var bindAddress = IPAddress.anyV4
    var securePort: UInt16 = 6443
    /// Nil: the address that the machine's default route leaves from, else loopback.
    var advertiseAddress: IPAddress?
    var serviceRanges: [CIDR] = []
    var clusterRanges: [CIDR] = []
    var nodePorts: ClosedRange<UInt16> = 30_000...32_767
    var clusterDomain = "cluster.local"
    var nodeMaskV4: UInt8 = 24
    var nodeMaskV6: UInt8 = 64
    var tokenFile: String?
    /// Where proxies and gRPC's clients are served their configuration, in plain text; nil serves none.
    var xdsAddress: SocketAddress?
    /// Where nodes and proxies are served certificates and configuration; nil: nowhere.
    var meshAddress: SocketAddress?
    /// Somebody has said where, so that it must be possible there.
    var namesMeshAddress = false
    /// A folder with an authority of one's own; nil: the cluster makes one.
    var meshAuthorityFolder: String?
    var meshPassphraseFile: String?
    /// Of workloads' certificates: what is given where nothing is asked for, and the most.
    var meshCertificateLifetime = Duration.seconds(86400)
    /// Of nodes' certificates, at most.
    var signingDuration = Duration.seconds(365 * 86400)
    /// What sidecars are like that are injected into pods.
    var sidecar = SidecarSettings()
    /// Where injection is also served as a webhook, over TLS; nil serves none.
    var injectAddress: SocketAddress?
    /// Where the administrator's kubeconfig is written besides the data directory.
    var kubeconfigOut: String?
    /// Further names and addresses for the serving certificate.
    var extraNames: [String] = []
    /// Loops; 0 is one a core.
    var threads = 0
    var runsControllers = true
    var runsScheduler = true

    static let defaultServiceRange = "10.96.0.0/12"
    static let defaultClusterRange = "10.244.0.0/16"

    init() {}

    /// Istio's port for the same.
    static let meshPort: UInt16 = 15012

    var meshDirectory: String { dataDirectory + "/pki/mesh" }
    var meshAuthority: LiveMeshAuthority.Place {
        meshAuthorityFolder.map { .brought(folder: $0) } ?? .own(directory: meshDirectory)
    }
    var meshPassphrase: MeshPassphrase {
        MeshPassphrase(path: meshPassphraseFile ?? dataDirectory + "/pki/mesh-ca.passphrase")
    }

    var database: String { dataDirectory + "/store.db" }

    /// Sets one setting by its name in the config file and among the flags, which is the same.
    /// - Throws: `ConfigurationError` that says what was expected.
    mutating func set(_ name: String, _ value: String) throws(ConfigurationError) {
        switch name {
        case "data-dir": dataDirectory = value
        case "bind-address": bindAddress = try address(name, value)
        case "secure-port": securePort = try number(name, value, 1...65535)
        case "listen":
            guard let endpoint = SocketAddress(value)?.endpoint else {
                throw ConfigurationError("\(name): expected ADDRESS:PORT, found \"\(value)\"")
            }
            bindAddress = endpoint.address
            securePort = endpoint.port.rawValue
        case "advertise-address": advertiseAddress = try address(name, value)
        case "service-cluster-ip-range": serviceRanges = try ranges(name, value, atMost: 2)
        case "cluster-cidr": clusterRanges = try ranges(name, value, atMost: 2)
        case "service-node-port-range":
            let ends = value.split(separator: "-").map { UInt16($0) }
            guard ends.count == 2, let low = ends[0], let high = ends[1], low > 0, low <= high else {
                throw ConfigurationError("\(name): expected LOW-HIGH, found \"\(value)\"")
            }
            nodePorts = low...high
        case "cluster-domain":
            clusterDomain = value
            sidecar.clusterDomain = value
        case "node-cidr-mask-size": nodeMaskV4 = try number(name, value, 1...32)
        case "node-cidr-mask-size-ipv6": nodeMaskV6 = try number(name, value, 1...128)
        case "token-auth-file": tokenFile = value
        case "xds-address":
            guard let address = SocketAddress(value), address.endpoint != nil else {
                throw ConfigurationError("\(name): expected ADDRESS:PORT, found \"\(value)\"")
            }
            xdsAddress = address
        case "mesh-address":
            namesMeshAddress = true
            guard value != "none" else { return meshAddress = nil }
            guard let address = SocketAddress(value), address.endpoint != nil else {
                throw ConfigurationError("\(name): expected ADDRESS:PORT or none, found \"\(value)\"")
            }
            meshAddress = address
        case "mesh-ca-dir": meshAuthorityFolder = value
        case "mesh-ca-passphrase-file": meshPassphraseFile = value
        case "mesh-cert-lifetime":
            guard let lifetime = Duration(goText: value), lifetime >= .seconds(10), lifetime <= .seconds(90 * 86400)
            else {
                throw ConfigurationError("\(name): expected a duration from 10s to 2160h, found \"\(value)\"")
            }
            meshCertificateLifetime = lifetime
        case "cluster-signing-duration":
            guard let lifetime = Duration(goText: value), lifetime >= .seconds(600) else {
                throw ConfigurationError("\(name): expected a duration of 10m or more, found \"\(value)\"")
            }
            signingDuration = lifetime
        case "proxy-image": sidecar.image = value
        case "proxy-command": sidecar.command = value
        case "proxy-interception-mode":
            guard let mode = CapturePlan.Mode(rawValue: value) else {
                throw ConfigurationError("\(name): expected REDIRECT, TPROXY or NONE, found \"\(value)\"")
            }
            sidecar.interception = mode
        case "inject-address":
            guard let address = SocketAddress(value), address.endpoint != nil else {
                throw ConfigurationError("\(name): expected ADDRESS:PORT, found \"\(value)\"")
            }
            injectAddress = address
        case "kubeconfig-out": kubeconfigOut = value
        case "tls-san": extraNames += value.split(separator: ",").map(String.init)
        case "threads": threads = Int(try number(name, value, 0...1024) as UInt16)
        case "controllers": runsControllers = try boolean(name, value)
        case "scheduler": runsScheduler = try boolean(name, value)
        default: throw ConfigurationError("\(name): no such setting")
        }
    }

    /// Reads a YAML file of the same names.
    mutating func read(file: String) throws {
        let text = try Files.readText(file)
        let document: JSONValue
        do {
            document = try YAML.parse(text)
        } catch {
            throw ConfigurationError("\(file): \(error)")
        }
        guard let object = document.object else { throw ConfigurationError("\(file): expected a mapping of settings") }
        for (name, value) in object {
            let items: [JSONValue] = if case .array(let array) = value { array } else { [value] }
            let texts = items.map { item in
                switch item {
                case .string(let text): text
                case .bool(let bool): bool ? "true" : "false"
                default: item.encodedString()
                }
            }
            do {
                try set(name, texts.joined(separator: ","))
            } catch {
                throw ConfigurationError("\(file): \(error)")
            }
        }
    }

    /// Fills in what was left open, and checks what must fit together.
    mutating func complete() throws(ConfigurationError) {
        if serviceRanges.isEmpty {
            serviceRanges = try ranges("service-cluster-ip-range", Self.defaultServiceRange, atMost: 1)
        }
        if clusterRanges.isEmpty { clusterRanges = try ranges("cluster-cidr", Self.defaultClusterRange, atMost: 1) }
        if !namesMeshAddress { meshAddress = .ip(bindAddress, Port(Self.meshPort), scope: 0) }
        for service in serviceRanges {
            guard service.count >= 8 else {
                throw ConfigurationError("service-cluster-ip-range: \(service) is too small, it must hold 8 addresses")
            }
            for cluster in clusterRanges where service.overlaps(cluster) {
                throw ConfigurationError("service-cluster-ip-range \(service) and cluster-cidr \(cluster) overlap")
            }
        }
    }

    private func address(_ name: String, _ value: String) throws(ConfigurationError) -> IPAddress {
        guard let address = IPAddress(value) else {
            throw ConfigurationError("\(name): expected an IP address, found \"\(value)\"")
        }
        return address
    }

    private func ranges(_ name: String, _ value: String, atMost limit: Int) throws(ConfigurationError) -> [CIDR] {
        var found: [CIDR] = []
        for part in value.split(separator: ",") {
            guard let range = CIDR(part) else {
                throw ConfigurationError("\(name): expected a range such as 10.0.0.0/16, found \"\(part)\"")
            }
            found.append(range.network)
        }
        guard !found.isEmpty, found.count <= limit, Set(found.map(\.address.family)).count == found.count else {
            throw ConfigurationError("\(name): expected one range, or one of each address family, found \"\(value)\"")
        }
        return found
    }

    private func number<N: FixedWidthInteger>(
        _ name: String, _ value: String, _ allowed: ClosedRange<N>
    ) throws(ConfigurationError) -> N {
        guard let number = N(value), allowed.contains(number) else {
            throw ConfigurationError(
                "\(name): expected a number from \(allowed.lowerBound) to \(allowed.upperBound), found \"\(value)\"")
        }
        return number
    }

    private func boolean(_ name: String, _ value: String) throws(ConfigurationError) -> Bool {
        switch value {
        case "true": true
        case "false": false
        default: throw ConfigurationError("\(name): expected true or false, found \"\(value)\"")
        }
    }
}
