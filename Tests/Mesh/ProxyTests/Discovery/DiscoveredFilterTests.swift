import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

/// Filters whose configuration comes by name (ECDS), from a control plane of grpcio.
@Suite("Filters from a control plane", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct DiscoveredFilterTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    private static let package = "type.googleapis.com/envoy.extensions.filters.http"
    private static let types: JSONValue = [.string("\(package).fault.v3.HTTPFault")]

    /// Answers every request with a status.
    private func fault(_ status: Int) -> JSONValue {
        [
            "@type": .string("\(Self.package).fault.v3.HTTPFault"),
            "abort": ["http_status": .int(Int64(status)), "percentage": ["numerator": 100]],
        ]
    }

    private func resource(_ name: String, _ config: JSONValue) -> JSONValue {
        ["@type": ControlPlane.url(ControlPlane.filter), "name": .string(name), "typed_config": config]
    }

    /// A listener with a filter by name before its router, which answers with 200.
    private func listener(
        _ name: String, _ filter: String, fetchTimeout: String = "15s", _ more: JSONObject = [:]
    ) -> JSONValue {
        var discovery: JSONObject = [
            "type_urls": Self.types,
            "config_source": [
                "ads": [:], "resource_api_version": "V3", "initial_fetch_timeout": .string(fetchTimeout),
            ],
        ]
        for member in more { discovery[member.key] = member.value }
        let router: JSONValue = [
            "name": "router", "typed_config": ["@type": .string("\(Self.package).router.v3.Router")],
        ]
        return ControlPlane.listener(
            name,
            routes: [
                "route_config": [
                    "virtual_hosts": [
                        [
                            "name": "all", "domains": ["*"],
                            "routes": [["match": ["prefix": "/"], "direct_response": ["status": 200]]],
                        ]
                    ]
                ], "http_filters": [["name": .string(filter), "config_discovery": .object(discovery)], router],
            ])
    }

    private func run(
        _ api: String, _ listeners: [JSONValue], _ filters: [JSONValue], workers: Int = 2,
        _ body: (ControlPlane, ProxyBench) async throws -> Void
    ) async throws {
        try await ControlPlane.run { plane in
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", listeners)
            try await plane.set(ControlPlane.filter, "x1", filters)
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port), workers: workers) { bench in
                try await body(plane, bench)
            }
        }
    }

    private func refusal(_ plane: ControlPlane) async throws -> String {
        let request = try await plane.next {
            $0["kind"]?.string == ControlPlane.filter && $0["error"]?.string?.isEmpty == false
        }
        return request["error"]?.string ?? ""
    }

    private func stat(_ bench: ProxyBench, _ filter: String, _ leaf: String) async -> Int64? {
        let name = "extension_config_discovery.http_filter.\(filter).\(leaf)"
        return await bench.server.stats().samples.first { $0.name == name }?.value
    }

    @Test(
        "a filter changes under connections that are open, and stays where what comes is no good",
        arguments: ["GRPC", "DELTA_GRPC"])
    func changes(api: String) async throws {
        try await run(api, [listener("web", "f"), listener("other", "f")], [resource("f", fault(418))]) {
            plane, bench in
            let asked = try await plane.request(ControlPlane.filter)
            #expect(asked["names"] == ["f"])
            // Every worker, over connections that stay.
            var clients: [RawClient] = []
            for _ in 0..<4 { clients.append(try await bench.client("web")) }
            func answers() async throws -> Set<Int> {
                var found: Set<Int> = []
                for client in clients {
                    try await client.send(get)
                    found.insert(try await client.response().status)
                }
                return found
            }
            #expect(try await answers() == [418])
            #expect(try await bench.exchange(get, "other").status == 418)
            try await plane.set(ControlPlane.filter, "x2", [resource("f", fault(419))])
            try await bench.until { try await answers() == [419] }
            #expect(try await bench.exchange(get, "other").status == 419)
            // Of another type, and of none that is allowed.
            let router: JSONValue = ["@type": .string("\(Self.package).router.v3.Router")]
            try await plane.set(ControlPlane.filter, "x3", [resource("f", router)])
            let type = try await refusal(plane)
            #expect(
                type.contains("filter config has type URL envoy.extensions.filters.http.router.v3.Router but expect"))
            try await plane.set(ControlPlane.filter, "x4", [resource("f", fault(99))])
            let rule = try await refusal(plane)
            #expect(rule.contains("http_status"))
            #expect(try await answers() == [419])
            #expect(await stat(bench, "f", "config_reload") == 2)
            #expect(await stat(bench, "f", "update_rejected") == 2)
            #expect(await stat(bench, "f", "config_fail") == 2)
            let dump = await bench.server.configDump(withEndpoints: false)
            let filters = try #require(dump.elements("ecds_filters"))
            #expect(filters.count == 1 && filters[0]["client_status"] == "NACKED")
            #expect(filters[0]["ecds_filter"]?["typed_config"]?["abort"]?["http_status"] == 419)
            #expect(filters[0]["error_state"]?["details"]?.string?.contains("http_status") == true)
            if api == "GRPC" { #expect(filters[0]["version_info"] == "x2") }
            try await plane.set(ControlPlane.filter, "x5", [resource("f", fault(420))])
            try await bench.until { try await answers() == [420] }
        }
    }

    @Test(
        "a listener waits for its filter; without it requests are answered with 500, or by what stands in for it",
        arguments: ["GRPC", "DELTA_GRPC"])
    func absent(api: String) async throws {
        let listeners = [
            listener("plain", "never", fetchTimeout: "0.2s"),
            listener("default", "none", fetchTimeout: "0.2s", ["default_config": fault(419)]),
            listener(
                "atonce", "late", ["default_config": fault(419), "apply_default_config_without_warming": true]),
        ]
        try await run(api, listeners, []) { plane, bench in
            #expect(try await bench.exchange(get, "plain").status == 500)
            #expect(try await bench.exchange(get, "default").status == 419)
            #expect(try await bench.exchange(get, "atonce").status == 419)
            #expect(await stat(bench, "never", "init_fetch_timeout") == 1)
            try await plane.set(
                ControlPlane.filter, "x2", [resource("never", fault(418)), resource("late", fault(420))])
            try await bench.until { try await bench.exchange(get, "plain").status == 418 }
            try await bench.until { try await bench.exchange(get, "atonce").status == 420 }
            // A listener that comes later has it at once, or waits.
            try await plane.set(ControlPlane.listener, "l2", listeners + [listener("more", "never")])
            try await bench.until { (try? await bench.exchange(get, "more").status) == 418 }
            try await plane.set(ControlPlane.listener, "l3", listeners + [listener("waits", "new")])
            _ = try await plane.next { event in
                event["kind"]?.string == ControlPlane.filter
                    && event["names"]?.array?.contains(where: { $0.string == "new" }) == true
            }
            if api == "GRPC" { #expect(await bench.addresses(of: "waits") == []) }
            try await plane.set(
                ControlPlane.filter, "x3",
                [resource("never", fault(418)), resource("late", fault(420)), resource("new", fault(421))])
            try await bench.until { (try? await bench.exchange(get, "waits").status) == 421 }
        }
    }

    @Test("a filter that is taken away leaves what stands in for it, and nobody asks for one that no listener has")
    func gone() async throws {
        let listeners = [listener("web", "f", ["default_config": fault(419)]), listener("bare", "f")]
        try await run("DELTA_GRPC", listeners, [resource("f", fault(418))]) { plane, bench in
            for name in ["web", "bare"] { #expect(try await bench.exchange(get, name).status == 418) }
            try await plane.send([
                "type_url": ControlPlane.url(ControlPlane.filter), "system_version_info": "x2", "nonce": "n",
                "removed_resources": ["f"],
            ])
            try await bench.until { try await bench.exchange(get, "web").status == 419 }
            #expect(try await bench.exchange(get, "bare").status == 500)
            // It is looked for with each change of a listener who still has it: connections may.
            var round = 0
            try await bench.until {
                round += 1
                try await plane.set(
                    ControlPlane.listener, "l\(round)", [ControlPlane.web("web", to: "", status: 204 + round % 2)])
                return plane.untaken.contains { $0["dropped"] == ["f"] }
            }
        }
    }

    @Test("a filter from a file changes with the file, and stays when that is no good")
    func file() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/ecds.json"
        func write(_ config: JSONValue) throws {
            let all: JSONValue = ["resources": [resource("f", config)]]
            try Files.writeAtomically(path, all.encodedString())
        }
        try write(fault(418))
        let filter = """
            - name: f
              config_discovery:
                type_urls: [ \(Self.package).fault.v3.HTTPFault ]
                config_source: { resource_api_version: V3, path_config_source: { path: \(path) } }
            """
        try await ProxyBench.run(ProxyBench.http(filters: filter), upstreams: [ScriptedUpstream.says("up")]) { bench in
            let client = try await bench.client()
            func status() async throws -> Int {
                try await client.send(get)
                return try await client.response().status
            }
            #expect(try await status() == 418)
            try write(fault(419))
            try await bench.until { try await status() == 419 }
            try write(["@type": .string("\(Self.package).router.v3.Router")])
            try await bench.until { await stat(bench, "f", "update_rejected") == 1 }
            #expect(try await status() == 419)
            try Files.writeAtomically(path, "{")
            try await bench.until { await stat(bench, "f", "update_failure") == 1 }
            #expect(try await status() == 419)
        }
    }
}
