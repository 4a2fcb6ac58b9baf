import Bytes
import ClusterAPI
import ClusterClient
import ClusterFixture
import Glibc
import HTTP
import JSON
import Reactor
import Telemetry
import TestSupport
import Testing

@testable import Discovery
@testable import MeshControl

/// An API server, the mesh's control plane on it, and two gRPC servers.
final class MeshCluster: Sendable {
    static let library = PythonPackage.folder(
        "grpcio", "1.85.0", named: "xds-server", probe: "grpc/__init__.py",
        with: ["xds-protos==1.85.0", "protobuf==7.36.2", "typing_extensions==4.16.0"])

    let client: KubeClient
    let ports: [Int]
    /// Where its discovery server listens.
    let port: Int
    private let loop: EventLoop
    private let folder: ScratchFolder

    private init(client: KubeClient, ports: [Int], port: Int, loop: EventLoop, folder: ScratchFolder) {
        (self.client, self.ports, self.port, self.loop, self.folder) = (client, ports, port, loop, folder)
    }

    static func run(_ body: @escaping @Sendable (MeshCluster) async throws -> Void) async throws {
        try await TestAPI.run { try await serve($0, body) }
    }

    private static func serve(
        _ api: TestAPI, _ body: @escaping @Sendable (MeshCluster) async throws -> Void
    ) async throws {
        let (client, folder, loop) = (api.client, api.folder, api.loop)
        let plane = MeshControlPlane(client, domain: "cluster.local", loop: loop, log: Log.shared)
        let server = HTTPServer(
            group: api.group, address: .ip(.loopbackV4, 0, scope: 0), limits: DiscoveryServer.limits
        ) { _ in plane.server }
        let port = try #require(try await server.start().port)
        let bootstrap: JSONValue = [
            "xds_servers": [
                [
                    "server_uri": .string("127.0.0.1:\(port)"), "channel_creds": [["type": "insecure"]],
                    "server_features": ["xds_v3"],
                ]
            ], "node": ["id": "client-1"],
        ]
        try Files.writeAtomically(
            folder.path + "/bootstrap.json", Array(bootstrap.encodedString().utf8), mode: 0o600, sync: false)
        let (reading, writing) = try ChildProcess.makePipe()
        let (input, held) = try ChildProcess.makePipe()
        var serving = ChildProcess.Configuration(["python3", script, "serve"])
        serving.environment = environment(folder)
        serving.descriptors = [0: input, 1: writing]
        let servers = try ChildProcess(serving, on: loop)
        defer { servers.kill(9) }
        let output = try await StreamConnection.adopt(reading, on: loop)
        var line: [UInt8] = []
        while !line.contains(UInt8(ascii: "\n")) {
            let more = try await output.read()
            if more.isEmpty { break }
            line += more
        }
        let ports = String(decoding: line, as: UTF8.self).split(separator: " ").compactMap {
            Int($0.filter(\.isNumber))
        }
        try #require(ports.count == 2)
        let cluster = MeshCluster(client: client, ports: ports, port: Int(port.rawValue), loop: loop, folder: folder)
        try await client.makeNamespace("shop")
        try await TestAPI.beside(plane.run) { try await body(cluster) }
        for descriptor in [input, held, writing] { close(descriptor) }
    }

    private static let script = #filePath.replacing("MeshCluster.swift", with: "grpc_peer.py")

    private static func environment(_ folder: ScratchFolder) -> [String] {
        [
            "PATH=\(Environment["PATH"] ?? "/usr/bin:/bin")", "PYTHONPATH=\(library ?? "")",
            "GRPC_XDS_BOOTSTRAP=\(folder.path)/bootstrap.json", "PYTHONDONTWRITEBYTECODE=1",
        ]
    }

    /// How often who answered.
    func call(_ service: String, _ count: Int, _ metadata: String...) async throws -> [String: Int] {
        var configuration = ChildProcess.Configuration(
            ["python3", Self.script, "call", "xds:///\(service).shop.svc.cluster.local:80", "\(count)"] + metadata)
        configuration.environment = Self.environment(folder)
        let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(120))
        let counts = try JSONValue.parse(output.stdout)
        return Dictionary(uniqueKeysWithValues: (counts.object?.members ?? []).map { ($0.key, Int($0.value.int ?? 0)) })
    }

    /// What the service that tells of clients answers to a client written elsewhere, which has refused a route configuration.
    func clientStatus() async throws -> JSONValue {
        var configuration = ChildProcess.Configuration(["python3", Self.script, "status", "\(port)"])
        configuration.environment = Self.environment(folder)
        let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(120))
        guard output.status.isSuccess else { throw Failure(description: output.errorText) }
        return try JSONValue.parse(output.stdout)
    }

    struct Failure: Error, CustomStringConvertible { var description: String }

    func service(_ name: String, endpoints ports: [Int]) async throws {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        service.json["spec"] = ["ports": [["name": "grpc", "port": 80, "targetPort": "grpc"]]]
        _ = try await client.create(.services, service)
        _ = try await client.create(.endpointSlices, slice(name, ports))
    }

    func endpoints(_ name: String, _ ports: [Int]) async throws {
        try await client.put(.endpointSlices, slice(name, ports))
    }

    /// Its port is that of the first; the servers differ by nothing else.
    private func slice(_ name: String, _ ports: [Int]) -> KubeObject {
        .slice(
            of: name, ports: ["grpc": Int64(ports[0])], [KubeObject.endpoint(OwnAddress.v4 ?? "")])
    }

    /// Testers go to the last backend, all others are split.
    func route(_ name: String, to service: String, _ backends: [(name: String, weight: Int)]) -> KubeObject {
        var route = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: "shop", name: name)
        let split = backends.map { backend -> JSONValue in
            ["name": .string(backend.name), "port": 80, "weight": .int(Int64(backend.weight))]
        }
        route.json["spec"] = [
            "parentRefs": [["group": "", "kind": "Service", "name": .string(service), "port": 80]],
            "rules": [
                ["backendRefs": .array(split)],
                [
                    "matches": [["headers": [["name": "x-tester", "value": "yes"]]]],
                    "backendRefs": [["name": .string(backends.last!.name), "port": 80]],
                ],
            ],
        ]
        return route
    }

    /// Waits until it holds.
    func eventually(_ condition: () async throws -> Bool, at place: SourceLocation = #_sourceLocation) async throws {
        try await TestSupport.eventually("what the test says", on: loop, condition, at: place)
    }
}
