import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import HTTP
import JSON
import MeshIdentity
import Reactor
import TLS
import TestSupport
import Testing

@testable import MeshControl
@testable import MeshNode

/// A Gateway `shop/edge` as users have it: made in the API, its proxy beneath a node's sockets, backends behind Services.
final class GatewayBench: Sendable {
    let mesh: MeshBench
    let http: UInt16
    let https: UInt16
    let tcp: UInt16
    private let folder: String
    /// The proxy's process.
    private let process: ChildProcess

    static let group = "gateway.networking.k8s.io"

    /// This machine's own address, because an EndpointSlice may not name the loopback's; nil where there is no other.
    static let ownAddress: String? = {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(9).bigEndian
        // TEST-NET-1 (RFC 5737): reached by the default route, and nothing is sent to it.
        address.sin_addr.s_addr = UInt32(0xC000_0201).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isKnown = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        return isKnown ? "\(IPAddress(v4: UInt32(bigEndian: address.sin_addr.s_addr)))" : nil
    }()

    private init(
        _ mesh: MeshBench, _ maker: MeshProxy.Maker, _ pod: MeshNode.MeshPod, ports: (UInt16, UInt16, UInt16)
    ) async throws {
        self.mesh = mesh
        (http, https, tcp) = ports
        folder = "\(mesh.folder.path)/gateway"
        try Files.makeDirectories(folder)
        try Files.writeAtomically(folder + "/bootstrap.yaml", Self.bootstrap(pod, mesh.volume(pod)))
        process = try await ChildProcess.start(
            .init([
                try #require(maker.program), "-c", folder + "/bootstrap.yaml", "--concurrency", "1", "--log-level",
                "warning", "--log-path", folder + "/log", "--use-dynamic-base-id",
            ]), on: mesh.loop)
    }

    static func run(
        _ maker: MeshProxy.Maker, more listeners: [JSONValue] = [],
        _ body: @escaping @Sendable (GatewayBench) async throws -> Void
    ) async throws {
        try await MeshBench.run { mesh in
            let ports = (try PortReservation.free(), try PortReservation.free(), try PortReservation.free())
            try await make(mesh, "gateways", "Gateway", "edge", gateway(ports, listeners))
            let account = ObjectKey(namespace: "shop", name: "edge-weft")
            try await mesh.eventually("the Gateway has its account") {
                try await mesh.client.find(.serviceAccounts, account) != nil
            }
            let node = try await mesh.node()
            let pod = try await mesh.pod("edge-1", account: "edge-weft")
            try await node.start(pod, folder: mesh.volume(pod))
            let following = Task { await node.run() }
            let bench = try await GatewayBench(mesh, maker, pod, ports: ports)
            let outcome: Result<Void, any Error>
            do {
                try await body(bench)
                outcome = .success(())
            } catch {
                let words = (try? Files.readText(bench.folder + "/log")) ?? ""
                Issue.record("the proxy's last words: \(words.suffix(2000))")
                outcome = .failure(error)
            }
            bench.process.kill(9)
            following.cancel()
            await node.stop(pod.uid)
            await following.value
            try outcome.get()
        }
    }

    private static func gateway(_ ports: (UInt16, UInt16, UInt16), _ more: [JSONValue]) -> JSONValue {
        let certificate: JSONValue = ["mode": "Terminate", "certificateRefs": [["name": "tls"]]]
        func https(_ name: String, _ hostname: String) -> JSONValue {
            [
                "name": .string(name), "port": .int(Int64(ports.1)), "protocol": "HTTPS",
                "hostname": .string(hostname), "tls": certificate,
            ]
        }
        let listeners: [JSONValue] = [
            ["name": "http", "port": .int(Int64(ports.0)), "protocol": "HTTP"],
            ["name": "foo", "port": .int(Int64(ports.0)), "protocol": "HTTP", "hostname": "foo.example.com"],
            https("https", "*.example.com"), https("a", "a.example.com"),
            [
                "name": "pass", "port": .int(Int64(ports.1)), "protocol": "TLS", "hostname": "pass.example.org",
                "tls": ["mode": "Passthrough"],
            ],
            ["name": "tcp", "port": .int(Int64(ports.2)), "protocol": "TCP"],
        ]
        return ["gatewayClassName": "weft", "listeners": .array(listeners + more)]
    }

    private static func bootstrap(_ pod: MeshNode.MeshPod, _ volume: String) -> String {
        func pipe(_ name: String, _ socket: String) -> String {
            """
              - name: \(name)
                type: STATIC
                connect_timeout: 5s
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: {http2_protocol_options: {}}
                load_assignment:
                  cluster_name: \(name)
                  endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: "\(volume)/\(socket)"}}}}]}]
            """
        }
        return """
            node: {id: "router~\(pod.name).\(pod.namespace)", cluster: \(pod.serviceAccount).\(pod.namespace)}
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
            \(pipe("sds-grpc", MeshWorkloads.secretSocket))
            \(pipe("xds-grpc", MeshWorkloads.configurationSocket))
            """
    }

    // MARK: Objects

    static func make(
        _ mesh: MeshBench, _ resource: String, _ kind: String, _ name: String, _ spec: JSONValue
    ) async throws {
        var object = KubeObject(apiVersion: "\(group)/v1", kind: kind, namespace: "shop", name: name)
        object.spec = spec
        try await mesh.client.create(GroupVersionResource(group: group, resource: resource), object)
    }

    func route(_ kind: String, _ name: String, section: String, hostnames: [String] = [], _ rules: JSONValue...)
        async throws
    {
        var spec: JSONValue = [
            "parentRefs": [["name": "edge", "sectionName": .string(section)]], "rules": .array(rules),
        ]
        if !hostnames.isEmpty { spec["hostnames"] = .array(hostnames.map { .string($0) }) }
        try await Self.make(mesh, "\(kind.lowercased())s", kind, name, spec)
    }

    /// A Service whose one backend answers with its own name and with the request as it came.
    func backend(_ name: String, tls: TLSContext? = nil) async throws {
        let server = HTTPServer(
            group: mesh.group, address: .ip(.anyV4, 0, scope: 0), tls: tls,
            handler: HTTPClosureHandler { request, response in
                var headers = JSONObject()
                for (name, value) in request.headers { headers[name.lowercased()] = .string(value) }
                let body: JSONValue = [
                    "who": .string(name), "target": .string(request.target), "headers": .object(headers),
                ]
                await response.send(status: 200, headers: ["x-drop": "1"], body: Array(body.encodedString().utf8))
            })
        let port = Int64(try #require(try await server.start().port?.rawValue))
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        service.json["spec"] = ["ports": [["name": "http", "port": 80, "targetPort": .int(port)]]]
        try await mesh.client.create(.services, service)
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: name)
        slice.json["metadata"]?["labels"] = ["kubernetes.io/service-name": .string(name)]
        slice.json["addressType"] = "IPv4"
        slice.json["ports"] = [["name": "http", "port": .int(port), "protocol": "TCP"]]
        slice.json["endpoints"] = [
            ["addresses": [.string(Self.ownAddress ?? "")], "conditions": ["ready": true]]
        ]
        try await mesh.client.create(.endpointSlices, slice)
    }

    func secret(_ name: String, for host: String) async throws {
        let identity = try mesh.cluster.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: host), names: AlternativeNames(dns: [host]), purpose: .server))
        var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "shop", name: name)
        secret.json["type"] = "kubernetes.io/tls"
        secret.json["data"] = [
            "tls.crt": .string(Base64.encode(Array(identity.chain[0].pem.utf8))),
            "tls.key": .string(Base64.encode(Array(identity.key.pem.utf8))),
        ]
        try await mesh.client.create(.secrets, secret)
    }

    // MARK: Requests

    /// What came back, in short: `200 v1 /path`, `301 https://…`, `404`; `000` when nothing did.
    func curl(_ arguments: [String]) async throws -> String {
        let output = try await ChildProcess.run(
            .init(["curl", "-sk", "-m", "20", "-w", "\n%{http_code} %{redirect_url}"] + arguments), on: mesh.loop)
        let parts = output.text.split(separator: "\n", omittingEmptySubsequences: false)
        let last = (parts.last ?? "").split(separator: " ").joined(separator: " ")
        guard let body = try? JSONValue.parse(Array(parts.dropLast().joined(separator: "\n").utf8)) else { return last }
        return "\(last) \(body.text("who")) \(body.text("target"))"
    }

    /// The answer as it was, head and body.
    func raw(_ arguments: [String]) async throws -> String {
        try await ChildProcess.run(.init(["curl", "-ski", "-m", "20"] + arguments), on: mesh.loop).text
    }

    /// One condition of the Gateway or of one of its listeners.
    func condition(_ type: String, listener: String? = nil) async throws -> JSONValue {
        let gateway = try await mesh.client.get(
            GroupVersionResource(group: Self.group, resource: "gateways"), ObjectKey(namespace: "shop", name: "edge"))
        let owner = listener.map { name in
            gateway.status.list("listeners").first { $0.text("name") == name } ?? .null
        }
        return (owner ?? gateway.status).list("conditions").first { $0.text("type") == type } ?? .null
    }
}
