import Bytes
import HTTP
import JSON
import Reactor
import TestSupport
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// The real Envoy 1.40 as a proxy of our control plane.
@Suite("Envoy beneath the discovery server", .enabled(if: EnvoyBinary.path != nil, "Envoy cannot be installed"))
struct EnvoyPeerTests {
    @Test(
        "it takes its world, and no request fails while clusters come and go",
        arguments: [
            DiscoveryForm.stateOfTheWorld, .delta,
        ])
    func worldChanges(form: DiscoveryForm) async throws {
        try await ControlPlane.run(form) { plane in
            try await plane.publish(clusters: ["one"], route: "one")
            let port = try await plane.listenerPort()
            // A listener has its port before anybody accepts on it.
            try await plane.eventually { try await plane.get(port) == "one" }
            var failures: [String] = []
            var last = "one"
            for round in 1...8 {
                let name = "c\(round)"
                // The new cluster comes, the route moves to it and the old one goes, all at once.
                try await plane.publish(clusters: [name], route: name, removing: [last])
                last = name
                let deadline = ContinuousClock.now + .seconds(60)
                while true {
                    let answer = try await plane.get(port)
                    if answer == name { break }
                    if !answer.hasPrefix("c"), answer != "one" { failures.append("\(round): \(answer)") }
                    guard ContinuousClock.now < deadline else {
                        Issue.record("the route to \(name) was never taken: \(answer)")
                        break
                    }
                }
            }
            #expect(failures.isEmpty, "\(failures)")
            // What nothing refers to any more is gone in the end.
            try await plane.eventually {
                try await !plane.admin("/clusters").split(separator: "\n").contains { $0.hasPrefix("one::") }
            }
            let status = try await plane.status()
            #expect(status.allSatisfy { $0.refusals.isEmpty })
        }
    }

    @Test(
        "a cluster that changes is used at once: its endpoints come with it",
        arguments: [
            DiscoveryForm.stateOfTheWorld, .delta,
        ])
    func changedCluster(form: DiscoveryForm) async throws {
        try await ControlPlane.run(form) { plane in
            try await plane.publish(clusters: ["one"], route: "one")
            let port = try await plane.listenerPort()
            try await plane.eventually { try await plane.get(port) == "one" }
            for seconds in 6...9 {
                try await plane.publish(clusters: ["one"], connectTimeout: seconds, route: "one")
                try await plane.eventually {
                    try await plane.admin("/config_dump?resource=dynamic_active_clusters").contains("\"\(seconds)s\"")
                }
            }
            // Or it was used when Envoy had waited for them long enough.
            let stats = try await plane.admin("/stats?filter=cluster.one.init_fetch_timeout")
            #expect(stats.hasSuffix(": 0\n"), "\(stats)")
            #expect(try await plane.get(port) == "one")
        }
    }

    @Test(
        "what it refuses is known by name, and what it had goes on",
        arguments: [
            DiscoveryForm.stateOfTheWorld, .delta,
        ])
    func refusal(form: DiscoveryForm) async throws {
        try await ControlPlane.run(form) { plane in
            try await plane.publish(clusters: ["one"], route: "one")
            let port = try await plane.listenerPort()
            try await plane.eventually { try await plane.get(port) == "one" }
            // A listener without filter chains.
            try await plane.publish([ServedChange(.listener, "bad", plane.message(.listener, ["name": "bad"]))])
            try await plane.eventually {
                try await plane.status().contains { $0.refusals[.listener]?.contains("bad") ?? false }
            }
            #expect(try await plane.get(port) == "one")
            try await plane.publish([ServedChange(.listener, "bad", nil)])
            try await plane.eventually { try await plane.status().allSatisfy { $0.refusals.isEmpty } }
        }
    }
}

/// A control plane, an Envoy that it configures, and a backend for each cluster, which answers with its name.
private final class ControlPlane: Sendable {
    let group: EventLoopGroup
    let loop: EventLoop
    let folder: ScratchFolder
    private let hub: Hub
    private let backend: UInt16

    /// What lives on the loop.
    private final class Hub: @unchecked Sendable {
        let server: DiscoveryServer
        let scope = ServedScope("mesh")
        init(_ loop: EventLoop) {
            let scope = scope
            server = DiscoveryServer(loop: loop, identifier: "weft-test") { _, _ in [scope] }
        }
    }

    static func run(_ form: DiscoveryForm, _ body: @escaping @Sendable (ControlPlane) async throws -> Void) async throws
    {
        let group = try EventLoopGroup(count: 1, name: "xds-test")
        let plane = try await ControlPlane(group)
        do {
            try await plane.start(form, body)
        } catch {
            await group.shutdown()
            throw error
        }
        await group.shutdown()
    }

    private init(_ group: EventLoopGroup) async throws {
        self.group = group
        loop = group.all[0]
        folder = try ScratchFolder()
        let loop = loop
        hub = try await loop.perform { Hub(loop) }
        // Which cluster a request came through, its authority says.
        let answering = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0, scope: 0),
            handler: HTTPClosureHandler { request, response in
                await response.send(status: 200, body: Array((request.headers["x-cluster"] ?? "none").utf8))
            })
        backend = try #require(try await answering.start().port?.rawValue)
    }

    private func start(
        _ form: DiscoveryForm, _ body: @escaping @Sendable (ControlPlane) async throws -> Void
    ) async throws {
        let hub = hub
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0, scope: 0), limits: DiscoveryServer.limits
        ) { _ in hub.server }
        let port = try #require(try await server.start().port?.rawValue)
        try Files.writeAtomically(
            "\(folder.path)/envoy.yaml", Array(Self.bootstrap(form, port).utf8), mode: 0o600, sync: false)
        let envoy = try await ChildProcess.start(
            .init([
                EnvoyBinary.path!, "-c", "\(folder.path)/envoy.yaml", "--concurrency", "1", "--log-level", "off",
                "--admin-address-path", "\(folder.path)/admin", "--use-dynamic-base-id",
            ]), on: loop)
        defer { envoy.kill(9) }
        try await loop.perform { try await body(self) }
    }

    private static func bootstrap(_ form: DiscoveryForm, _ port: UInt16) -> String {
        """
        node: {id: envoy-1, cluster: test}
        admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
        dynamic_resources:
          ads_config:
            api_type: \(form == .delta ? "DELTA_GRPC" : "GRPC")
            transport_api_version: V3
            grpc_services: [{envoy_grpc: {cluster_name: xds}}]
          cds_config: {ads: {}, resource_api_version: V3}
          lds_config: {ads: {}, resource_api_version: V3}
        static_resources:
          clusters:
          - name: xds
            type: STATIC
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
            load_assignment:
              cluster_name: xds
              endpoints:
              - lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(port)}}}}]
        """
    }

    // MARK: What is published

    func message(_ kind: ResourceKind, _ json: JSONValue) throws -> [UInt8] {
        try Message(json: json, type: #require(ProtoSchema.envoy.message(kind.rawValue))).binary()
    }

    func publish(_ changes: [ServedChange]) async throws {
        let hub = hub
        try await loop.perform { hub.server.publish(changes, in: hub.scope) }
    }

    /// Clusters with their endpoints, and the one route that all requests take.
    func publish(
        clusters: [String], connectTimeout: Int = 5, route: String, removing gone: [String] = []
    ) async throws {
        var changes: [ServedChange] = []
        for name in clusters {
            changes.append(
                ServedChange(
                    .cluster, name,
                    try message(
                        .cluster,
                        [
                            "name": .string(name), "type": "EDS", "connect_timeout": "\(connectTimeout)s",
                            "eds_cluster_config": ["eds_config": ["ads": [:], "resource_api_version": "V3"]],
                        ])))
            changes.append(
                ServedChange(
                    .clusterLoadAssignment, name,
                    try message(
                        .clusterLoadAssignment,
                        [
                            "cluster_name": .string(name),
                            "endpoints": [
                                [
                                    "lb_endpoints": [
                                        [
                                            "endpoint": [
                                                "address": [
                                                    "socket_address": [
                                                        "address": "127.0.0.1", "port_value": .int(Int64(backend)),
                                                    ]
                                                ]
                                            ]
                                        ]
                                    ]
                                ]
                            ],
                        ])))
        }
        for name in gone {
            changes.append(ServedChange(.cluster, name, nil))
            changes.append(ServedChange(.clusterLoadAssignment, name, nil))
        }
        changes.append(ServedChange(.listener, "web", try message(.listener, Self.listener)))
        changes.append(
            ServedChange(.routeConfiguration, "web", try message(.routeConfiguration, Self.routes(to: route))))
        try await publish(changes)
    }

    private static func routes(to cluster: String) -> JSONValue {
        [
            "name": "web",
            "virtual_hosts": [
                [
                    "name": "all", "domains": ["*"],
                    "routes": [
                        [
                            "match": ["prefix": "/"], "route": ["cluster": .string(cluster)],
                            "request_headers_to_add": [
                                ["header": ["key": "x-cluster", "value": .string(cluster)]]
                            ],
                        ]
                    ],
                ]
            ],
        ]
    }

    private static let listener: JSONValue = [
        "name": "web",
        "address": ["socket_address": ["address": "127.0.0.1", "port_value": 0]],
        "filter_chains": [
            [
                "filters": [
                    [
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": [
                            "@type":
                                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                            "stat_prefix": "web",
                            "rds": [
                                "config_source": ["ads": [:], "resource_api_version": "V3"],
                                "route_config_name": "web",
                            ],
                            "http_filters": [
                                [
                                    "name": "envoy.filters.http.router",
                                    "typed_config": [
                                        "@type":
                                            "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                                    ],
                                ]
                            ],
                        ],
                    ]
                ]
            ]
        ],
    ]

    // MARK: What is seen

    func status() async throws -> [StreamStatus] {
        let hub = hub
        return try await loop.perform { hub.server.status() }
    }

    /// The body of an answer, or its status when it is not 200.
    func get(_ port: UInt16, path: String = "/") async throws -> String {
        let client = HTTPClient(on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port))
        defer { client.close() }
        let response = try await client.request("GET", path)
        return response.status == 200 ? response.text : "\(response.status): \(response.text)"
    }

    func admin(_ path: String) async throws -> String {
        let address = String(decoding: try Files.read("\(folder.path)/admin"), as: UTF8.self)
        // No requirement: that the file is not yet written is no defect.
        guard let port = UInt16(address.split(separator: ":").last ?? "") else { throw NotYet() }
        return try await get(port, path: path)
    }

    private struct NotYet: Error {}

    func listenerPort() async throws -> UInt16 {
        var port: UInt16?
        try await eventually {
            let lines = try await self.admin("/listeners").split(separator: "\n")
            port = lines.first { $0.hasPrefix("web::") }.flatMap { $0.split(separator: ":").last }.flatMap {
                UInt16($0)
            }
            return port != nil
        }
        return try #require(port)
    }

    /// Waits until it holds; what throws does not hold yet.
    func eventually(_ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while (try? await condition()) != true {
            guard ContinuousClock.now < deadline else {
                Issue.record("it never became so")
                return
            }
            try await loop.sleep(for: .milliseconds(5))
        }
    }
}
