import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

/// Listeners that a control plane is asked for when a redirected connection first wants to go where they lead, with the clusters and
/// routes that come with them. What netfilter does elsewhere the PROXY protocol does here: it says where a client wanted to go.
@Suite("Listeners on demand", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct ListenersOnDemandTests {
    private static let filters = "type.googleapis.com/envoy.extensions.filters"

    /// Where captured connections come; those that nobody else takes are told `through`.
    static func front(_ settings: JSONObject = ["timeout": 30]) -> JSONValue {
        [
            "@type": ControlPlane.url(ControlPlane.listener), "name": "front", "use_original_dst": true,
            "address": ["socket_address": ["address": "127.0.0.1", "port_value": 0]],
            "metadata": ["filter_metadata": ["weft.lds.on_demand": .object(settings)]],
            "listener_filters": [
                [
                    "name": "p",
                    "typed_config": ["@type": .string("\(filters).listener.proxy_protocol.v3.ProxyProtocol")],
                ]
            ],
            "filter_chains": [
                [
                    "filters": [
                        [
                            "name": "d",
                            "typed_config": [
                                "@type": .string("\(filters).network.direct_response.v3.Config"),
                                "response": ["inline_string": "through"],
                            ],
                        ]
                    ]
                ]
            ],
        ]
    }

    /// The listener of a Service's address, whose routes come by name.
    private static func web(_ address: String, _ port: Int64, table: String) -> JSONValue {
        var listener =
            ControlPlane.listener(
                "\(address)_\(port)",
                routes: [
                    "rds": [
                        "route_config_name": .string(table),
                        "config_source": ["ads": [:], "resource_api_version": "V3"],
                    ]
                ]
            ).object ?? [:]
        listener["address"] = ["socket_address": ["address": .string(address), "port_value": .int(port)]]
        listener["bind_to_port"] = false
        return .object(listener)
    }

    private static func stream(_ address: String, _ port: Int64, to cluster: String) -> JSONValue {
        [
            "@type": ControlPlane.url(ControlPlane.listener), "name": .string("\(address)_\(port)"),
            "bind_to_port": false,
            "address": ["socket_address": ["address": .string(address), "port_value": .int(port)]],
            "filter_chains": [
                [
                    "filters": [
                        [
                            "name": "t",
                            "typed_config": [
                                "@type": .string("\(filters).network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "t",
                                "cluster": .string(cluster),
                            ],
                        ]
                    ]
                ]
            ],
        ]
    }

    static func table(_ name: String, to cluster: String) -> JSONValue {
        [
            "@type": ControlPlane.url(ControlPlane.routes), "name": .string(name),
            "virtual_hosts": [
                [
                    "name": "all", "domains": ["*"],
                    "routes": [["match": ["prefix": "/"], "route": ["cluster": .string(cluster)]]],
                ]
            ],
        ]
    }

    private func call(_ bench: ProxyBench, _ destination: String, _ port: Int) async throws -> String {
        try await Self.call(bench, destination, port)
    }

    private func counts(_ bench: ProxyBench, _ line: String) async -> Bool { await Self.counts(bench, line) }

    /// A mesh with `10.96.0.1:80` (routes `web:80` to the cluster `web`) and `10.96.0.2:90` (a stream to the cluster `tcp`).
    static func publish(_ plane: ControlPlane, _ version: String, front: JSONValue = front(), _ port: String)
        async throws
    {
        try await plane.set(ControlPlane.endpoints, version, [ControlPlane.assignment("web", port)])
        try await plane.set(
            ControlPlane.cluster, version, [ControlPlane.discovered("web"), ControlPlane.fixed("tcp", port)],
            named: ["web", "tcp"])
        try await plane.set(ControlPlane.routes, version, [table("web:80", to: "web")])
        try await plane.set(
            ControlPlane.listener, version,
            [front, web("10.96.0.1", 80, table: "web:80"), stream("10.96.0.2", 90, to: "tcp")],
            named: ["10.96.0.1_80", "10.96.0.2_90"])
    }

    /// What a client hears that wanted to go there.
    static func call(_ bench: ProxyBench, _ destination: String, _ port: Int) async throws -> String {
        let client = try await bench.client("front")
        try await client.send(
            "PROXY TCP4 10.244.1.9 \(destination) 40000 \(port)\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        // A stream's server leaves the connection open; what goes through is no HTTP.
        let start = try await client.read(7)
        if start == "through" { return start }
        var text = start
        while WireMessage.length(text, isResponse: true) == nil {
            let more = try await client.connection.read()
            guard !more.isEmpty else { throw Unexpected("the connection ended after: \(text)") }
            text += String(decoding: more, as: UTF8.self)
        }
        return RawResponse(text).body
    }

    private func names(_ bench: ProxyBench) async -> [String] {
        await bench.server.clusterFacts().map(\.settings.name).sorted()
    }

    /// Whether the statistics have this line.
    static func counts(_ bench: ProxyBench, _ line: String) async -> Bool {
        let page = await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: "/stats"))
        return page.body.contains("listener_manager.on_demand.\(line)\n")
    }

    @Test(
        "the first calls wait for listener, routes, cluster and endpoints; all others find them there",
        arguments: [1, 2])
    func found(workers: Int) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await Self.publish(plane, "1", port)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.port), workers: workers) {
                bench in
                #expect(await names(bench) == ["xds"])
                let first = try await plane.request(ControlPlane.cluster)
                #expect(first["node_json"]?["client_features"]?.array?.contains("weft.lds.on_demand") == true)
                try await withThrowingTaskGroup(of: String.self) { tasks in
                    for _ in 0..<8 { tasks.addTask { try await call(bench, "10.96.0.1", 80) } }
                    for try await body in tasks { #expect(body == "up") }
                }
                #expect(await names(bench) == ["web", "xds"])
                let asked = try await plane.next {
                    $0["kind"]?.string == ControlPlane.listener && $0["names"]?.array?.isEmpty == false
                }
                #expect(asked["names"] == ["*", "10.96.0.1_80"])
                #expect(try await call(bench, "10.96.0.2", 90) == "up")
                #expect(try await call(bench, "10.96.0.1", 80) == "up")
                #expect(await counts(bench, "asked: 2"))
                #expect(await counts(bench, "active: 2"))
                #expect(bench.server.problems.newest == [])
            }
        }
    }

    @Test("where nothing is the call goes through; it is not asked for again, and is followed once it is there")
    func absent() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "1", [])
            try await plane.set(ControlPlane.listener, "1", [Self.front()])
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.port)) { bench in
                for _ in 0..<3 { #expect(try await call(bench, "10.96.0.1", 80) == "through") }
                #expect(await counts(bench, "asked: 1"))
                #expect(await counts(bench, "absent: 1"))
                try await Self.publish(plane, "2", port)
                try await bench.until { try await call(bench, "10.96.0.1", 80) == "up" }
                try await plane.set(ControlPlane.listener, "3", [Self.front()])
                try await bench.until { try await call(bench, "10.96.0.1", 80) == "through" }
                #expect(await counts(bench, "asked: 1"))
            }
        }
    }

    @Test("a control plane that says nothing holds up one call for so long, and none that come later")
    func silent() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await Self.publish(plane, "1", front: Self.front(["timeout": 0.3]), port)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.port)) { bench in
                try await plane.tell("auto", ["on": false])
                let gone = try await bench.client("front")
                try await gone.send("PROXY TCP4 10.244.1.9 10.96.0.1 40000 80\r\n")
                gone.connection.close()
                #expect(try await call(bench, "10.96.0.1", 80) == "through")
                #expect(try await call(bench, "10.96.0.1", 80) == "through")
                #expect(await counts(bench, "timed_out: 1"))
                try await plane.tell("auto", ["on": true])
                try await plane.tell("end", ["code": 14])
                try await Self.publish(plane, "2", front: Self.front(["timeout": 0.4]), port)
                try await bench.until { try await call(bench, "10.96.0.1", 80) == "up" }
            }
        }
    }

    @Test(
        "without a control plane calls go through at once, those that are known go on, and the rest comes with its return"
    )
    func unreachable() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await Self.publish(plane, "1", front: Self.front(["timeout": 600]), port)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.relayPort)) { bench in
                #expect(try await call(bench, "10.96.0.1", 80) == "up")
                try await plane.tell("relay", ["mode": "cut", "after": 0])
                try await plane.set(ControlPlane.secret, "1", [])
                try await plane.tell("end", ["code": 14])
                try await bench.until { await !(bench.server.discoveryFacts()[0].isConnected) }
                #expect(try await call(bench, "10.96.0.2", 90) == "through")
                #expect(try await call(bench, "10.96.0.1", 80) == "up")
                try await plane.tell("relay", ["mode": "pass"])
                try await bench.until { try await call(bench, "10.96.0.2", 90) == "up" }
                #expect(try await call(bench, "10.96.0.1", 80) == "up")
            }
        }
    }

    /// As `front`, but what nobody takes goes to the cluster `known`, or to `maybe` where nobody could say.
    static func doubtful(_ settings: JSONObject) -> JSONValue {
        var listener = front(settings).object ?? [:]
        listener["filter_chains"] = [
            [
                "metadata": ["filter_metadata": ["weft.lds.on_demand": ["unanswered_cluster": "maybe"]]],
                "filters": [
                    [
                        "name": "t",
                        "typed_config": [
                            "@type": .string("\(filters).network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "t",
                            "cluster": "known",
                        ],
                    ]
                ],
            ]
        ]
        return .object(listener)
    }

    @Test(
        "where nobody could say who listens another cluster is used: no stream, one that ends, no answer in time; not where nothing is",
        arguments: [1, 2])
    func unanswered(workers: Int) async throws {
        try await ControlPlane.run { plane in
            let known = try await plane.upstream(ScriptedUpstream.says("known"))
            let maybe = try await plane.upstream(ScriptedUpstream.says("maybe"))
            func publish(_ version: String, timeout: Double) async throws {
                try await plane.set(
                    ControlPlane.cluster, version,
                    [ControlPlane.fixed("known", known), ControlPlane.fixed("maybe", maybe)])
                try await plane.set(
                    ControlPlane.listener, version, [Self.doubtful(["timeout": .double(timeout)])])
            }
            try await publish("1", timeout: 600)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.relayPort), workers: workers) {
                bench in
                func goes(_ port: Int, to cluster: String) async throws {
                    for _ in 0..<2 * workers { #expect(try await call(bench, "10.96.0.1", port) == cluster) }
                }
                try await goes(80, to: "known")
                // It waits, and the stream ends.
                try await plane.tell("auto", ["on": false])
                async let waiting = call(bench, "10.96.0.1", 81)
                _ = try await plane.next { $0["names"]?.array?.contains("10.96.0.1_81") == true }
                try await plane.tell("relay", ["mode": "cut", "after": 0])
                try await plane.set(ControlPlane.secret, "1", [])
                try await plane.tell("end", ["code": 14])
                #expect(try await waiting == "maybe")
                try await bench.until { await !(bench.server.discoveryFacts()[0].isConnected) }
                try await goes(82, to: "maybe")
                // What was known to be nowhere stays so.
                try await goes(80, to: "known")
                // Somebody between holds the connection.
                try await plane.tell("relay", ["mode": "stall", "after": 0])
                try await bench.until { await bench.server.discoveryFacts()[0].isConnected }
                try await goes(84, to: "maybe")
                try await plane.tell("relay", ["mode": "cut", "after": 0])
                try await plane.tell("auto", ["on": true])
                try await publish("2", timeout: 0.2)
                try await plane.tell("relay", ["mode": "pass"])
                for port in [81, 82] {
                    try await bench.until { try await call(bench, "10.96.0.1", port) == "known" }
                    try await goes(port, to: "known")
                }
                try await bench.until { await bench.server.discoveryFacts().version(of: .listener) == "2" }
                try await plane.tell("auto", ["on": false])
                try await goes(83, to: "maybe")
                #expect(await counts(bench, "timed_out: 1"))
                #expect(await counts(bench, "unreachable: 3"))
            }
        }
    }

    @Test(
        "what nobody has called for long is given up with its clusters and routes, and comes again with the next call")
    func idle() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await Self.publish(plane, "1", front: Self.front(["timeout": 30, "idle_timeout": 1]), port)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.port)) { bench in
                for round in 1...2 {
                    #expect(try await call(bench, "10.96.0.1", 80) == "up")
                    #expect(try await call(bench, "10.96.0.7", 80) == "through")
                    for (kind, name) in [
                        (ControlPlane.listener, "10.96.0.1_80"), (ControlPlane.routes, "web:80"),
                        (ControlPlane.cluster, "web"), (ControlPlane.endpoints, "web"),
                    ] {
                        _ = try await plane.next {
                            $0["kind"]?.string == kind && $0["dropped"]?.array?.contains(.string(name)) == true
                        }
                    }
                    try await bench.until { await names(bench) == ["xds"] }
                    try await bench.until { await counts(bench, "dropped: \(2 * round)") }
                    #expect(await bench.server.listeners.keys.sorted() == ["front"])
                }
            }
        }
    }

    @Test("routes that lead to a cluster that is not known change when it is here, without a failed request")
    func moved() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("old"))
            let other = try await plane.upstream(ScriptedUpstream.says("new"))
            try await Self.publish(plane, "1", port)
            try await ProxyBench.run(ControlPlane.bootstrap("DELTA_GRPC", port: plane.port)) { bench in
                // However long the calls take that are made meanwhile.
                let clusters = bench.server.clusters
                try await clusters.loop.perform { clusters.references.fetchTime = 600_000_000_000 }
                #expect(try await call(bench, "10.96.0.1", 80) == "old")
                try await plane.tell("auto", ["on": false])
                func send(_ kind: String, _ nonce: String, _ resource: JSONValue? = nil, removed: [JSONValue] = [])
                    async throws
                {
                    let resources = resource.map { one -> JSONValue in
                        ["name": one["name"] ?? "", "version": "2", "resource": one]
                    }
                    try await plane.send([
                        "type_url": ControlPlane.url(kind), "nonce": .string(nonce), "system_version_info": "2",
                        "resources": .array([resources].compactMap { $0 }), "removed_resources": .array(removed),
                    ])
                    #expect(try await plane.answer(kind, to: nonce)["error"] == "")
                }
                // The routes come before the cluster to which they lead, while that from which they lead goes.
                try await send(ControlPlane.routes, "r", Self.table("web:80", to: "next"))
                _ = try await plane.next { $0["names"] == ["next"] }
                try await send(ControlPlane.cluster, "c", removed: ["web"])
                for _ in 0..<20 { #expect(try await call(bench, "10.96.0.1", 80) == "old") }
                try await send(ControlPlane.cluster, "d", ControlPlane.fixed("next", other))
                var last = ""
                try await bench.until {
                    last = try await call(bench, "10.96.0.1", 80)
                    #expect(["old", "new"].contains(last))
                    return last == "new"
                }
                try await bench.until { await names(bench) == ["next", "xds"] }
            }
        }
    }

    @Test("a node that says no is told of everything, and asks for nothing")
    func off() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await Self.publish(plane, "1", port)
            let bootstrap = ControlPlane.bootstrap("DELTA_GRPC", port: plane.port).replacing(
                "node: { id: test-proxy,", with: "node: { metadata: { LISTENERS_ON_DEMAND: \"false\" }, id: test-proxy,"
            )
            try await ProxyBench.run(bootstrap) { bench in
                #expect(try await call(bench, "10.96.0.1", 80) == "through")
                let asked = try await plane.request(ControlPlane.cluster)
                #expect(asked["node_json"]?["client_features"]?.array?.contains("weft.lds.on_demand") == false)
                #expect(await bench.server.discoveryFacts()[0].onDemand.asked == 0)
            }
        }
    }
}
