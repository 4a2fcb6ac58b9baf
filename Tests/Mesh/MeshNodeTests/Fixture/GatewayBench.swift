import Bytes
import ClusterAPI
import ClusterClient
import ClusterFixture
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

    private init(
        _ mesh: MeshBench, _ maker: MeshProxy.Maker, _ pod: MeshNode.MeshPod, ports: (UInt16, UInt16, UInt16)
    ) async throws {
        self.mesh = mesh
        (http, https, tcp) = ports
        folder = "\(mesh.folder.path)/gateway"
        try Files.makeDirectories(folder)
        try Files.writeAtomically(folder + "/bootstrap.yaml", Self.bootstrap(pod, mesh.volume(pod)))
        var program = ChildProcess.Configuration([
            try #require(maker.program), "-c", folder + "/bootstrap.yaml", "--concurrency", "1", "--log-level",
            "warning", "--log-path", folder + "/log", "--use-dynamic-base-id",
        ])
        let output = open(folder + "/output", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw SystemError.last("open", folder + "/output") }
        defer { close(output) }
        program.descriptors = [1: output]
        process = try await ChildProcess.start(program, on: mesh.loop)
    }

    /// What the proxy wrote on its standard output.
    func output() throws -> String { try Files.readText(folder + "/output") }

    static func run(
        _ maker: MeshProxy.Maker, more listeners: [JSONValue] = [],
        _ body: @escaping @Sendable (GatewayBench) async throws -> Void
    ) async throws {
        try await MeshBench.run { mesh in
            let ports = (try OwnAddress.freePort(), try OwnAddress.freePort(), try OwnAddress.freePort())
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
        """
        node: {id: "router~\(pod.name).\(pod.namespace)", cluster: \(pod.serviceAccount).\(pod.namespace)}
        \(ProxyBootstrap.discovery)
        static_resources:
          clusters:
        \(ProxyBootstrap.pipe("sds-grpc", "\(volume)/\(MeshWorkloads.secretSocket)"))
        \(ProxyBootstrap.pipe("xds-grpc", "\(volume)/\(MeshWorkloads.configurationSocket)"))
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
        try await backend(
            name, tls: tls,
            HTTPClosureHandler { request, response in
                var headers = JSONObject()
                for (name, value) in request.headers { headers[name.lowercased()] = .string(value) }
                let body: JSONValue = [
                    "who": .string(name), "target": .string(request.target), "headers": .object(headers),
                ]
                await response.send(status: 200, headers: ["x-drop": "1"], body: Array(body.encodedString().utf8))
            })
    }

    /// A Service whose one backend is this one.
    func backend(_ name: String, tls: TLSContext? = nil, _ handler: HTTPClosureHandler) async throws {
        let server = HTTPServer(group: mesh.group, address: .ip(.anyV4, 0, scope: 0), tls: tls, handler: handler)
        try await expose(name, port: Int64(try #require(try await server.start().port?.rawValue)))
    }

    /// A Service with one endpoint: this port of this machine.
    func expose(_ name: String, port: Int64) async throws {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        service.json["spec"] = ["ports": [["name": "http", "port": 80, "targetPort": .int(port)]]]
        try await mesh.client.create(.services, service)
        try await mesh.client.create(
            .endpointSlices,
            KubeObject.slice(of: name, ports: ["http": port], [KubeObject.endpoint(OwnAddress.v4 ?? "")]))
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

    /// A policy of `security.istio.io`.
    func policy(
        _ kind: String, _ name: String, in namespace: String = "shop", isForEdge: Bool = false, _ spec: JSONValue
    ) async throws {
        var object = KubeObject(apiVersion: "security.istio.io/v1", kind: kind, namespace: namespace, name: name)
        object.spec = spec
        if isForEdge {
            object.spec["targetRefs"] = [["group": .string(Self.group), "kind": "Gateway", "name": "edge"]]
        }
        try await mesh.client.put(.policies(kind), object)
    }

    func remove(_ kind: String, _ name: String, in namespace: String = "shop") async throws {
        try await mesh.client.delete(.policies(kind), ObjectKey(namespace: namespace, name: name))
    }

    /// Reason and message of a condition of a policy.
    func condition(_ kind: String, _ name: String, _ type: String) async throws -> String {
        let object = try await mesh.client.get(.policies(kind), ObjectKey(namespace: "shop", name: name))
        let condition = object.status.list("conditions").first { $0.text("type") == type }
        return
            "\(condition?.text("status") ?? "") \(condition?.text("reason") ?? "") \(condition?.text("message") ?? "")"
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
