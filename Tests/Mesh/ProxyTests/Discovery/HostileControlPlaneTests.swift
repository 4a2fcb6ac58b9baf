import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

/// Control planes that break the protocol, or break down: what was accepted stays in use, and nothing worse happens.
@Suite("Hostile control planes", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct HostileControlPlaneTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A proxy that has what it needs; `body` then makes trouble, after which it must still serve and still learn.
    private func survives(
        _ api: String = "GRPC", _ body: (ControlPlane, ProxyBench) async throws -> Void
    ) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("before"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.discovered("app")])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.relayPort)) { bench in
                _ = try await plane.answer(ControlPlane.listener, to: "1.3")
                try await plane.tell("auto", ["on": false])
                try await body(plane, bench)
                let answer = try await bench.exchange(get, "web")
                #expect(answer.body == "before")
                let other = try await plane.upstream(ScriptedUpstream.says("after"))
                try await plane.tell("auto", ["on": true])
                // A stream that knows nothing of the trouble.
                try await plane.tell("relay", ["mode": "pass"])
                try await plane.set(ControlPlane.endpoints, "e9", [ControlPlane.assignment("app", other)])
                try await bench.until { (try? await bench.exchange(get, "web").body) == "after" }
            }
        }
    }

    private func response(
        _ kind: String, _ nonce: String, _ resources: [JSONValue], api: String = "GRPC"
    ) -> JSONObject {
        guard api == "GRPC" else {
            let all = resources.map { resource -> JSONValue in
                let name = resource["name"] ?? resource["cluster_name"] ?? ""
                return ["name": name, "version": "v", "resource": resource]
            }
            return ["type_url": ControlPlane.url(kind), "nonce": .string(nonce), "resources": .array(all)]
        }
        return [
            "type_url": ControlPlane.url(kind), "version_info": .string(nonce), "nonce": .string(nonce),
            "resources": .array(resources),
        ]
    }

    @Test("a name that is there twice is refused, and neither is used", arguments: ["GRPC", "DELTA_GRPC"])
    func duplicates(api: String) async throws {
        try await survives(api) { plane, _ in
            let twice = [ControlPlane.assignment("app", "1"), ControlPlane.assignment("app", "2")]
            try await plane.send(response(ControlPlane.endpoints, "twice", twice, api: api))
            let answer = try await plane.answer(ControlPlane.endpoints, to: "twice")
            #expect(answer["error"]?.string?.contains("duplicate endpoints app found") == true)
            #expect(answer["code"] == 3)
            if api == "GRPC" { #expect(answer["version"] == "e1") }
        }
    }

    @Test("nonces are only echoed: none, one that came before, one of another kind")
    func nonces() async throws {
        try await survives { plane, _ in
            for nonce in ["", "1.2", "1.1", "1.1"] {
                let resources: [JSONValue] = [ControlPlane.discovered("app")]
                try await plane.send(response(ControlPlane.cluster, nonce, resources))
                let answer = try await plane.answer(ControlPlane.cluster, to: nonce)
                #expect(answer["error"] == "")
            }
        }
    }

    @Test(
        "kinds that nobody asked for, and resources that nobody asked for, change nothing",
        arguments: ["GRPC", "DELTA_GRPC"])
    func unasked(api: String) async throws {
        try await survives(api) { plane, bench in
            try await plane.send(response(ControlPlane.routes, "r", [], api: api))
            try await plane.send(["type_url": "type.googleapis.com/no.such.Kind", "nonce": "n"])
            try await plane.send(["nonce": "nothing"])
            try await plane.send(
                response(ControlPlane.endpoints, "more", [ControlPlane.assignment("other", "1")], api: api))
            let answer = try await plane.answer(ControlPlane.endpoints, to: "more")
            #expect(answer["error"] == "")
            #expect(bench.server.problems.newest == [])
            #expect(plane.untaken.allSatisfy { $0["nonce"] != "r" && $0["nonce"] != "n" })
        }
    }

    @Test("a resource of another type than the response's is refused")
    func types() async throws {
        try await survives { plane, _ in
            try await plane.send(response(ControlPlane.endpoints, "mixed", [ControlPlane.fixed("app", "1")]))
            let answer = try await plane.answer(ControlPlane.endpoints, to: "mixed")
            #expect(
                answer["error"]?.string?.contains("expected a envoy.config.endpoint.v3.ClusterLoadAssignment") == true)
        }
    }

    @Test(
        "bytes that are no response end the stream, and another is opened",
        arguments: ["ff", "0a05616263", "1207deadbeef"])
    func garbage(hex: String) async throws {
        try await survives { plane, _ in
            try await plane.tell("bytes", ["hex": .string(hex)])
            let open = try await plane.next { $0["event"] == "open" && $0["stream"]?.int == 2 }
            #expect(open["method"]?.string?.hasSuffix("StreamAggregatedResources") == true)
        }
    }

    @Test("a message over the limit ends the stream before it is read")
    func oversized() async throws {
        try await ControlPlane.run { plane in
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", [])
            let text = ControlPlane.bootstrap(port: plane.port)
            let limited = text.split(separator: "cluster_name: xds }", omittingEmptySubsequences: false).joined(
                separator: "cluster_name: xds, max_receive_message_length: 100000 }")
            try await ProxyBench.run(limited) { bench in
                try await plane.tell("bytes", ["hex": "", "zeros": 100_001])
                _ = try await plane.next { $0["event"] == "open" && $0["stream"]?.int == 2 }
                // One that is allowed, and is nonsense, on the next stream.
                try await plane.tell("bytes", ["hex": "", "zeros": 100_000])
                _ = try await plane.next { $0["event"] == "open" && $0["stream"]?.int == 3 }
            }
        }
    }

    @Test("the connection is cut within a message, at any place", arguments: [1, 9, 14, 100, 300])
    func cut(after: Int) async throws {
        try await survives { plane, _ in
            try await plane.tell("relay", ["mode": "cut", "after": .int(Int64(after))])
            let many = (0..<20).map { ControlPlane.assignment("other\($0)", "1") }
            try await plane.send(response(ControlPlane.endpoints, "cut", [ControlPlane.assignment("app", "1")] + many))
            _ = try await plane.next { $0["event"] == "close" && $0["stream"]?.int == 1 }
        }
    }

    @Test("half a message and then silence holds nothing up")
    func half() async throws {
        try await survives { plane, bench in
            try await plane.tell("relay", ["mode": "stall", "after": 60])
            try await plane.send(response(ControlPlane.endpoints, "half", [ControlPlane.assignment("app", "1")]))
            for _ in 0..<3 { #expect(try await bench.exchange(get, "web").body == "before") }
        }
    }

    @Test("a control plane that says nothing is waited for, and then the proxy starts without it")
    func silence() async throws {
        try await ControlPlane.run { plane in
            try await plane.tell("auto", ["on": false])
            let text = ControlPlane.bootstrap(port: plane.port, fetchTimeout: "0.3s")
            try await ProxyBench.run(text) { bench in
                let state = await bench.server.state
                #expect(state == .live)
                // It is still listened to.
                try await plane.tell("auto", ["on": true])
                try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "", status: 204)])
                try await plane.send(
                    response(ControlPlane.listener, "late", [ControlPlane.web("web", to: "", status: 204)]))
                try await bench.until { (try? await bench.exchange(get, "web").status) == 204 }
            }
        }
    }

    @Test(
        "endpoints that never come leave the cluster empty, and a cluster beside it is not held up",
        arguments: ["GRPC", "DELTA_GRPC"])
    func missing(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(
                ControlPlane.cluster, "c1",
                [
                    ControlPlane.fixed("app", port), ControlPlane.discovered("lost", fetchTimeout: "0.2s"),
                ])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("other", port)])
            try await plane.set(
                ControlPlane.listener, "l1",
                [
                    ControlPlane.web("web", to: "app"), ControlPlane.web("lost", to: "lost"),
                ])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                #expect(try await bench.exchange(get, "web").body == "up")
                #expect(try await bench.exchange(get, "lost").status == 503)
                try await plane.set(ControlPlane.endpoints, "e2", [ControlPlane.assignment("lost", port)])
                try await bench.until { (try? await bench.exchange(get, "lost").body) == "up" }
            }
        }
    }
}
