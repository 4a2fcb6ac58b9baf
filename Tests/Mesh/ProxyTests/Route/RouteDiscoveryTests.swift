import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

@Suite("Routes by name, from files")
struct RouteDiscoveryTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A listener whose routes come from a file.
    private func listener(_ path: String, routes: String = "r", timeout: String = "0s", name: String = "main") -> String
    {
        """
        name: \(name), address: { socket_address: { address: 127.0.0.1, port_value: 0 } }, filter_chains: [ { filters: [ {
          name: hcm, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: test, rds: { route_config_name: \(routes), config_source: {
              initial_fetch_timeout: \(timeout), path_config_source: { path: \(path) } } },
            http_filters: [ { name: router, typed_config: {
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ] } } ] } ]
        """
    }

    private func fixed(_ path: String, timeout: String) -> String {
        "static_resources: { listeners: [ { \(listener(path, timeout: timeout)) } ] }"
    }

    private func followed(_ path: String) -> String {
        "dynamic_resources: { lds_config: { path_config_source: { path: \(path) } } }"
    }

    private func listeners(_ listeners: String...) -> String {
        let all = listeners.map { "{ \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, \($0) }" }
        return "{ resources: [ \(all.joined(separator: ",\n")) ] }"
    }

    /// A table of each name, whose answer says what is given.
    private func routes(version: String = "1", _ tables: (name: String, answer: String)...) -> String {
        let all = tables.map { name, answer in
            """
            { "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: \(name), virtual_hosts: [ {
              name: all, domains: ["*"], routes: [ { match: { prefix: / }, \(answer) } ] } ] }
            """
        }
        return "{ version_info: \"\(version)\", resources: [ \(all.joined(separator: ",\n")) ] }"
    }

    private func says(_ text: String) -> String { "direct_response: { status: 200, body: { inline_string: \(text) } }" }

    private func stat(_ bench: ProxyBench, _ name: String) async -> Int64? {
        await bench.server.stats().samples.first { $0.name == name }?.value
    }

    @Test("a table that changes replaces what requests are answered by, and one that is no good does not")
    func update() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/rds.yaml"
        try Files.writeAtomically(path, routes(("r", says("first"))))
        try await ProxyBench.run(fixed(path, timeout: "15s"), workers: 2) { bench in
            // A connection that stays has the new routes too.
            let client = try await bench.client()
            try await client.send(get)
            #expect(try await client.response().body == "first")
            try Files.writeAtomically(path, routes(version: "2", ("other", says("x")), ("r", says("second"))))
            try await bench.until { try await bench.exchange(get).body == "second" }
            try await bench.until {
                try await client.send(get)
                return try await client.response().body == "second"
            }
            for (bad, stat) in [
                (routes(("r", "route: { cluster: a, internal_redirect_policy: { nothing: 1 } }")), "update_failure"),
                (routes(("r", "route: { cluster: a, prefix_rewrite: x, regex_rewrite: {} }")), "update_rejected"),
                ("{", "update_failure"), (routes(("other", says("x"))), "update_empty"),
            ] {
                let before = await self.stat(bench, "http.test.rds.r.\(stat)") ?? 0
                try Files.writeAtomically(path, bad)
                try await bench.until { await self.stat(bench, "http.test.rds.r.\(stat)") ?? 0 > before }
                let answer = try await bench.exchange(get)
                #expect(answer.body == "second")
            }
            #expect(await self.stat(bench, "http.test.rds.r.config_reload") == 2)
            let dump = JSONValue.array(await bench.server.configDump(withEndpoints: false).parts).pretty()
            #expect(dump.contains("dynamic_route_configs"))
            #expect(dump.contains("second") && !dump.contains("first"))
        }
    }

    @Test("without its routes a listener serves when the time to fetch them is over, and they may come later")
    func fetchTimeout() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/rds.yaml"
        try await ProxyBench.run(fixed(path, timeout: "0.01s")) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.status == 404)
            #expect(await self.stat(bench, "http.test.rds.r.init_fetch_timeout") == 1)
            try Files.writeAtomically(path, routes(("r", says("late"))))
            try await bench.until { try await bench.exchange(get).body == "late" }
        }
    }

    @Test("a listener warms until its routes are there, and serves as before meanwhile")
    func warming() async throws {
        let folder = try ScratchFolder()
        let (lds, rds, more) = ("\(folder.path)/lds.yaml", "\(folder.path)/rds.yaml", "\(folder.path)/more.yaml")
        try await ProxyBench.run(followed(lds)) { bench in
            let warming = "listener_manager.total_listeners_warming"
            try Files.writeAtomically(lds, listeners(listener(rds)))
            try await bench.until { await self.stat(bench, warming) == 1 }
            #expect(await bench.server.addresses(of: "main").isEmpty)
            try Files.writeAtomically(rds, routes(("r", says("first"))))
            try await bench.until { await !bench.server.addresses(of: "main").isEmpty }
            let first = try await bench.exchange(get)
            #expect(first.body == "first")
            // The changed one waits for its own routes.
            try Files.writeAtomically(lds, listeners(listener(more, routes: "s")))
            try await bench.until { await self.stat(bench, warming) == 1 }
            let still = try await bench.exchange(get)
            #expect(still.body == "first")
            try Files.writeAtomically(more, routes(("s", says("second"))))
            try await bench.until { try await bench.exchange(get).body == "second" }
            #expect(await self.stat(bench, warming) == 0)
            // What no listener asks for is followed no more.
            try Files.writeAtomically(lds, listeners())
            try await bench.until { await bench.server.addresses(of: "main").isEmpty }
            try await bench.until { await bench.server.dynamicRoutes.isEmpty }
            try Files.writeAtomically(lds, listeners(listener(rds), listener(rds, name: "twin")))
            try await bench.until { await !bench.server.addresses(of: "twin").isEmpty }
            let twin = try await bench.exchange(get, "twin")
            #expect(twin.body == "first")
        }
    }
}
