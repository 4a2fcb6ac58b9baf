import JSON
import Reactor
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// The proxy behind a control plane of grpcio.
@Suite(
    "Resources from a control plane", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct DiscoveryTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    /// Waits for an answer with this body.
    private func until(_ bench: ProxyBench, _ listener: String = "web", says body: String) async throws {
        try await bench.until { (try? await bench.exchange(get, listener).body) == body }
    }

    /// Waits until a response with this version was answered; the nonce says which of them it is.
    private func error(_ plane: ControlPlane, _ kind: String) async throws -> (name: String, error: String) {
        let request = try await plane.next {
            $0["event"] == "request" && $0["kind"]?.string == kind && $0["error"] != ""
        }
        return (request["nonce"]?.string ?? "", request["error"]?.string ?? "")
    }

    @Test("clusters, their endpoints and listeners come by one stream", arguments: ["GRPC", "DELTA_GRPC"])
    func resources(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("first"))
            let other = try await plane.upstream(ScriptedUpstream.says("second"))
            try await plane.set(
                ControlPlane.cluster, "c1", [ControlPlane.discovered("app"), ControlPlane.fixed("x", other)])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                let answer = try await bench.exchange(get, "web")
                #expect(answer.body == "first")
                let asked = try await plane.request(ControlPlane.cluster)
                #expect(asked["node_json"]?["id"] == "test-proxy")
                #expect(asked["names"] == [])
                let accepted = try await plane.answer(ControlPlane.listener, to: "1.3")
                #expect(accepted["error"] == "")
                try await plane.set(ControlPlane.endpoints, "e2", [ControlPlane.assignment("app", other)])
                try await until(bench, says: "second")
                try await plane.set(ControlPlane.listener, "l2", [ControlPlane.web("web", to: "x", status: 418)])
                try await bench.until { try await bench.exchange(get, "web").status == 418 }
                try await plane.set(ControlPlane.listener, "l3", [ControlPlane.web("new", to: "x")])
                try await until(bench, "new", says: "second")
                try await bench.until { await bench.server.addresses(of: "web").isEmpty }
                try await plane.set(ControlPlane.cluster, "c2", [ControlPlane.fixed("x", other)])
                try await bench.until {
                    (await bench.server.clusterFacts()).map(\.settings.name).sorted() == ["x", "xds"]
                }
                #expect(bench.server.problems.newest == [])
            }
        }
    }

    @Test(
        "what cannot be used is refused by name, the rest is used, and the old stays",
        arguments: ["GRPC", "DELTA_GRPC"])
    func refused(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.fixed("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                var bad = ControlPlane.fixed("app", port).object ?? [:]
                bad["upstream_config"] = ["name": "x"]
                try await plane.set(ControlPlane.cluster, "c2", [.object(bad), ControlPlane.fixed("good", port)])
                let refusal = try await error(plane, ControlPlane.cluster)
                #expect(refusal.error.hasPrefix("Error adding/updating cluster(s) app: "))
                #expect(refusal.error.contains("upstream_config"))
                try await plane.set(
                    ControlPlane.listener, "l2",
                    [
                        ControlPlane.web("web", to: "good"),
                        ["@type": ControlPlane.url(ControlPlane.listener), "name": "bad"],
                    ])
                let other = try await error(plane, ControlPlane.listener)
                #expect(other.error.hasPrefix("Error adding/updating listener(s) bad: "))
                // Both the cluster that came beside a bad one and the one that stayed.
                try await until(bench, says: "up")
                let names = await bench.server.clusterFacts().map(\.settings.name).sorted()
                #expect(names == ["app", "good", "xds"])
                #expect(await bench.server.addresses(of: "bad") == [])
                // Mended.
                try await plane.set(ControlPlane.cluster, "c3", [ControlPlane.fixed("app", port)])
                try await bench.until { (await bench.server.clusterFacts()).count == 2 }
            }
        }
    }

    @Test(
        "a listener whose port is taken is refused at once, also while its routes are awaited, and the old one stays",
        arguments: ["GRPC", "DELTA_GRPC"])
    func takenPort(api: String) async throws {
        try await ControlPlane.run { plane in
            // The control plane listens where nobody else may.
            let taken = Int64(plane.port)
            func at(_ port: Int64, _ listener: JSONValue) -> JSONValue {
                var object = listener.object ?? [:]
                object["address"] = ["socket_address": ["address": "127.0.0.1", "port_value": .int(port)]]
                return .object(object)
            }
            let awaited = ControlPlane.listener(
                "awaited",
                routes: [
                    "rds": [
                        "route_config_name": "never", "config_source": ["ads": [:], "resource_api_version": "V3"],
                    ]
                ])
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "", status: 201)])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                #expect(try await bench.exchange(get, "web").status == 201)
                try await plane.set(
                    ControlPlane.listener, "l2",
                    [
                        at(taken, ControlPlane.web("web", to: "", status: 202)), at(taken, awaited),
                        ControlPlane.web("good", to: "", status: 203),
                    ])
                let refusal = try await error(plane, ControlPlane.listener)
                let reason = "cannot bind '127.0.0.1:\(taken)': Address already in use"
                let isTold = ["web: \(reason)", "awaited: \(reason)"].allSatisfy { refusal.error.contains($0) }
                #expect(isTold && refusal.error.hasPrefix("Error adding/updating listener(s) "), "\(refusal.error)")
                #expect(try await bench.exchange(get, "web").status == 201)
                #expect(try await bench.exchange(get, "good").status == 203)
                let samples = await bench.server.stats().samples
                let failures = samples.first { $0.name == "listener_manager.listener_create_failure" }
                #expect(failures?.value == 2)
            }
        }
    }

    @Test("a stream that ends is opened again, and the versions in hand are told", arguments: ["GRPC", "DELTA_GRPC"])
    func again(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.discovered("app")])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.relayPort)) { bench in
                _ = try await plane.answer(ControlPlane.listener, to: "1.3")
                for stream in 2...4 {
                    switch stream {
                    case 2: try await plane.tell("end", ["code": 14, "details": "going away"])
                    case 3: try await plane.tell("relay", ["mode": "pass"])
                    default: try await plane.tell("end")
                    }
                    for kind in [ControlPlane.cluster, ControlPlane.endpoints, ControlPlane.listener] {
                        let first = try await plane.next {
                            $0["event"] == "request" && $0["kind"]?.string == kind && $0["stream"]?.int == Int64(stream)
                        }
                        #expect(first["nonce"] == "")
                        if api == "GRPC" {
                            let version =
                                kind == ControlPlane.cluster ? "c1" : kind == ControlPlane.endpoints ? "e1" : "l1"
                            #expect(first["version"]?.string == version)
                        } else {
                            let held = first["held"]?.object?.map(\.key)
                            #expect(held == [kind == ControlPlane.listener ? "web" : "app"])
                        }
                    }
                    try await until(bench, says: "up")
                }
                // What it did not hear of meanwhile it hears now.
                let other = try await plane.upstream(ScriptedUpstream.says("other"))
                try await plane.set(ControlPlane.endpoints, "e2", [ControlPlane.assignment("app", other)])
                try await until(bench, says: "other")
            }
        }
    }

    @Test("no request fails while clusters, endpoints and listeners change", arguments: ["GRPC", "DELTA_GRPC"])
    func changes(api: String) async throws {
        try await ControlPlane.run { plane in
            let ports = [
                try await plane.upstream(ScriptedUpstream.says("up")),
                try await plane.upstream(ScriptedUpstream.says("up")),
            ]
            try await plane.set(
                ControlPlane.cluster, "c0", [ControlPlane.discovered("app"), ControlPlane.discovered("app2")])
            let endpoints = { (port: String) in
                [ControlPlane.assignment("app", port), ControlPlane.assignment("app2", port)]
            }
            try await plane.set(ControlPlane.endpoints, "e0", endpoints(ports[0]))
            try await plane.set(ControlPlane.listener, "l0", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                let isOver = Atomic<Bool>(false)
                let running = Task { () async throws -> (Int, [String]) in
                    var (count, wrong): (Int, [String]) = (0, [])
                    let client = try await bench.client("web")
                    while !isOver.load(ordering: .relaxed) {
                        try await client.send(get)
                        let answer = try await client.response()
                        if answer.body != "up" { wrong.append("\(answer.status) \(answer.body)") }
                        count += 1
                    }
                    return (count, wrong)
                }
                for round in 1...12 {
                    let timeout = "\(5 + round % 2).5s"
                    try await plane.set(
                        ControlPlane.cluster, "c\(round)",
                        [
                            ControlPlane.discovered("app", timeout: timeout),
                            ControlPlane.discovered("app2", timeout: timeout),
                        ])
                    try await plane.set(ControlPlane.endpoints, "e\(round)", endpoints(ports[round % 2]))
                    try await plane.set(
                        ControlPlane.listener, "l\(round)",
                        [ControlPlane.web("web", to: round % 2 == 0 ? "app" : "app2")])
                    _ = try await plane.next {
                        $0["event"] == "request" && $0["kind"]?.string == ControlPlane.listener && $0["nonce"] != ""
                    }
                }
                isOver.store(true, ordering: .relaxed)
                let (count, wrong) = try await running.value
                #expect(wrong == [] && count > 0)
            }
        }
    }
}
