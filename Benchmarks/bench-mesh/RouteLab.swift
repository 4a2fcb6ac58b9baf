import Bytes
import CLinux
import ClusterAPI
import ClusterClient
import Glibc
import HTTP
import JSON
import MeshControl
import Reactor
import TLS
import Telemetry
import YAML

/// weft-control, a Service `cart` with two others behind it, and a real sidecar that calls it, in a network of their own.
struct RouteLab {
    static let route = ObjectKey(namespace: MeshCluster.namespace, name: "cart")
    static let routes = GroupVersionResource(group: "gateway.networking.k8s.io", resource: "httproutes")
    static let services = ["cart", "cart-v1", "cart-v2"]
    /// Where the versions of the Service answer.
    private static let address = IPAddress(v4: 10, 99, 0, 1)

    let loop: EventLoop
    let folder: String
    private let programs: String
    private let group: EventLoopGroup
    private let processes: Processes

    private final class Processes: @unchecked Sendable {
        // Proof for `@unchecked`: touched on the loop only.
        var all: [ChildProcess] = []
    }

    init(_ group: EventLoopGroup) throws {
        self.group = group
        loop = group.all[0]
        folder = "/tmp/bench-mesh-\(getpid())"
        try Files.makeDirectories(folder, mode: 0o700)
        guard let own = realpath("/proc/self/exe", nil) else { throw Failure("no /proc") }
        defer { free(own) }
        programs = String(cString: own).split(separator: "/").dropLast().map { "/" + $0 }.joined()
        processes = Processes()
    }

    func close() async {
        for process in processes.all {
            process.kill(SIGKILL)
            _ = try? await process.exitStatus
        }
        try? Files.removeTree(folder)
    }

    /// Before there are other threads: they shall be in the network that this makes.
    static func enterOwnNetwork() throws {
        guard unshare(CLONE_NEWNET) == 0 else { throw Failure("no network of its own can be made: \(errno)") }
    }

    // MARK: The control plane

    private static let port: UInt16 = 6443
    private static let meshPort: UInt16 = 15012
    var kubeconfig: String { folder + "/data/admin.kubeconfig" }

    func startControl() async throws -> KubeClient {
        try await prepareNetwork()
        try start([
            programs + "/weft-control", "run", "--data-dir", folder + "/data", "--listen", "127.0.0.1:\(Self.port)",
            "--advertise-address", "127.0.0.1", "--mesh-address", "127.0.0.1:\(Self.meshPort)",
        ])
        return try await wait("weft-control serves") {
            guard Files.exists(kubeconfig) else { return nil }
            let config = try KubeConfig(document: try YAML.parse(try Files.readText(kubeconfig)), directory: folder)
            let client = KubeClient(try HTTPTransport(config, on: loop, userAgent: "bench-mesh"))
            return (try? await client.discovery("/version")) == nil ? nil : client
        }
    }

    /// What the node does for a sidecar's pod: calls of Services come to its port first.
    private func prepareNetwork() async throws {
        let script = """
            set -e
            ip link set lo up
            ip address add \(Self.address)/32 dev lo
            ip route add default dev lo
            nft -f - <<END
            table ip bench {
              chain out {
                type nat hook output priority -100
                ip daddr 10.96.0.0/12 tcp dport 80 redirect to :15001
              }
            }
            END
            """
        let output = try await ChildProcess.run(.init(["sh", "-c", script]), on: loop)
        guard output.status.isSuccess else { throw Failure("the network: \(output.errorText)") }
    }

    /// A certificate of the authority that weft-control has made, for all proxies here.
    func identity() async throws -> String {
        let authority = try LiveMeshAuthority(
            .own(directory: folder + "/data/pki/mesh"), trustDomain: "cluster.local",
            passphrase: MeshPassphrase(path: folder + "/data/pki/mesh-ca.passphrase"), loop: loop, log: Log.shared)
        let server = try Certificate(pem: Files.readText(folder + "/data/pki/ca.crt"))
        try WorkloadFiles.write(authority.current, trusting: server, to: folder + "/workload")
        try await WorkloadSecrets.serve(
            folder + "/workload", trusting: authority.current.roots, at: folder + "/sds.sock", on: group)
        return folder + "/workload"
    }

    var way: ProxyFleet.Way { .init(address: "\(Self.meshPort)", form: .delta, identity: folder + "/workload") }

    // MARK: Services and what answers

    /// All endpoints of all of `MeshCluster`'s Services answer.
    func serveAll() async throws {
        let route = try await ChildProcess.run(
            .init(["ip", "route", "add", "local", "10.64.0.0/11", "dev", "lo"]), on: loop)
        guard route.status.isSuccess else { throw Failure("the network: \(route.errorText)") }
        let server = HTTPServer(
            group: group, address: .ip(.anyV4, 8080),
            handler: HTTPClosureHandler { _, response in await response.send(status: 200, body: [UInt8]("ok".utf8)) })
        _ = try await server.start()
    }

    /// - Returns: The Service's address.
    func makeCart(_ client: KubeClient) async throws -> String {
        for version in ["v1", "v2"] {
            let server = HTTPServer(
                group: group, address: .ip(Self.address, 0),
                handler: HTTPClosureHandler { _, response in
                    await response.send(status: 200, body: Array(version.utf8))
                })
            guard let port = try await server.start().port?.rawValue else { throw Failure("no port") }
            for name in version == "v1" ? ["cart", "cart-v1"] : ["cart-v2"] {
                _ = try await client.create(.services, MeshCluster.service(name))
                _ = try await client.create(
                    .endpointSlices, MeshCluster.slice(of: name, port: Int(port), ["\(Self.address)"]))
            }
            try Files.writeAtomically(manifest(version), Self.object(version).json.encoded())
        }
        let cart = try await client.get(.services, ObjectKey(namespace: MeshCluster.namespace, name: "cart"))
        guard let address = cart.json["spec"]?["clusterIP"]?.string else { throw Failure("cart has no address") }
        return address
    }

    func manifest(_ version: String) -> String { "\(folder)/\(version).json" }

    static func rules(_ version: String) -> JSONValue {
        [["backendRefs": [["name": .string("cart-\(version)"), "port": 80]]]]
    }

    private static func object(_ version: String) -> KubeObject {
        var object = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: route.namespace, name: route.name)
        object.json["spec"] = [
            "parentRefs": [["group": "", "kind": "Service", "name": "cart", "port": 80]], "rules": rules(version),
        ]
        return object
    }

    // MARK: The sidecar

    /// As injection starts it, but for the node's socket of discovery, which leads to the same port with the same certificate.
    ///
    /// - Parameters:
    ///   - number: Its pod's.
    ///   - asks: It learns of Services when they are called.
    /// - Returns: Its process.
    @discardableResult
    func startProxy(_ number: Int, asks: Bool = true) throws -> ChildProcess {
        let types = "type.googleapis.com/envoy.extensions"
        let bootstrap = """
            node:
              id: sidecar~web-\(number).\(MeshCluster.namespace)
              cluster: web.\(MeshCluster.namespace)
              metadata: {LISTENERS_ON_DEMAND: "\(asks)"}
            dynamic_resources:
              ads_config:
                api_type: DELTA_GRPC
                transport_api_version: V3
                set_node_on_first_message_only: true
                grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
              cds_config: {ads: {}, resource_api_version: V3}
              lds_config: {ads: {}, resource_api_version: V3}
            static_resources:
              clusters:
              - name: xds-grpc
                type: STATIC
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": \(types).upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: {http2_protocol_options: {}}
                transport_socket:
                  name: tls
                  typed_config:
                    "@type": \(types).transport_sockets.tls.v3.UpstreamTlsContext
                    common_tls_context:
                      tls_certificates:
                      - certificate_chain: {filename: \(folder)/workload/cert.pem}
                        private_key: {filename: \(folder)/workload/key.pem}
                      validation_context: {trusted_ca: {filename: \(folder)/workload/roots.pem}}
                load_assignment:
                  cluster_name: xds-grpc
                  endpoints:
                  - lb_endpoints:
                    - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(Self.meshPort)}}}
              - name: sds-grpc
                type: STATIC
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": \(types).upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: {http2_protocol_options: {}}
                load_assignment:
                  cluster_name: sds-grpc
                  endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: \(folder)/sds.sock}}}}]}]
            """
        return try start([
            programs + "/weft-proxy", "--config-yaml", bootstrap, "--concurrency", "1", "--log-level", "warning",
        ])
    }

    @discardableResult
    private func start(_ arguments: [String]) throws -> ChildProcess {
        var configuration = ChildProcess.Configuration(arguments)
        let log = open("\(folder)/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { Glibc.close(log) }
        configuration.descriptors = [1: log, 2: log]
        configuration.deathSignal = SIGKILL
        let process = try ChildProcess(configuration, on: loop)
        processes.all.append(process)
        return process
    }

    func wait<T: Sendable>(_ what: String, _ condition: () async throws -> T?) async throws -> T {
        let deadline = monotonic() + 60
        while monotonic() < deadline {
            if let result = try await condition() { return result }
            try await loop.sleep(for: .milliseconds(10))
        }
        let log = (try? Files.readText(folder + "/log")) ?? ""
        throw Failure("it never became so: \(what)\n\(log.suffix(2000))")
    }
}
