import JSON
import TLS
import Testing

@testable import Proxy

@Suite("Admin port")
struct AdminServerTests {
    private func get(_ admin: AdminServer, _ target: String, _ method: String = "GET") async -> AdminAnswer {
        await admin.answer(AdminRequest(method: method, target: target))
    }

    @Test("a request is counted under the names of its listener, manager, cluster and host")
    func counted() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let admin = AdminServer(bench.server) {}
            _ = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            let text = await get(admin, "/stats").body
            for line in [
                "http.test.downstream_rq_total: 1", "http.test.downstream_rq_2xx: 1", "http.test.rq_total: 1",
                "cluster.c0.upstream_rq_total: 1", "cluster.c0.upstream_rq_200: 1",
                "cluster.c0.external.upstream_rq_2xx: 1", "cluster.c0.membership_healthy: 1",
                "listener_manager.total_listeners_active: 1", "server.live: 1",
            ] {
                #expect(text.contains(line + "\n"), "no \(line)")
            }
            let clusters = await get(admin, "/clusters").body
            #expect(clusters.contains("::rq_total::1\n"))
            #expect(clusters.contains("::rq_success::1\n"))
        }
    }

    @Test("counters that were reset begin at 0, and are still used")
    func reset() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let admin = AdminServer(bench.server) {}
            _ = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            #expect(await get(admin, "/reset_counters", "POST").body == "OK\n")
            let text = await get(admin, "/stats?usedonly&filter=^http\\.test\\.downstream_rq_total$").body
            #expect(text == "http.test.downstream_rq_total: 0\n")
        }
    }

    @Test("health checks that fail make the proxy drain until they pass again")
    func health() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let admin = AdminServer(bench.server) {}
            #expect(await get(admin, "/ready").body == "LIVE\n")
            _ = await get(admin, "/healthcheck/fail", "POST")
            let failing = await get(admin, "/ready")
            #expect(failing.status == 503)
            #expect(failing.body == "DRAINING\n")
            _ = await get(admin, "/healthcheck/ok", "POST")
            #expect(await get(admin, "/ready").status == 200)
        }
    }

    @Test("what changes the proxy is asked for by POST")
    func methods() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let admin = AdminServer(bench.server) {}
            for command in AdminCommand.all where command.mutates {
                let answer = await get(admin, command.path)
                #expect(answer.status == 405, "\(command.path)")
                #expect(answer.body == "Method GET not allowed, POST required.")
            }
            #expect(await get(admin, "/nothing").status == 404)
        }
    }

    @Test("the configuration dump tells each resource, by field, name and mask")
    func configDump() async throws {
        try await ProxyBench.run(
            ProxyBench.http(clusters: 2), upstreams: [ScriptedUpstream.says("a"), ScriptedUpstream.says("b")]
        ) { bench in
            let admin = AdminServer(bench.server) {}
            let target = "/config_dump?resource=static_clusters&mask=cluster.name&name_regex=c1"
            let page = try JSONValue.parse(Array(await get(admin, target).body.utf8))
            #expect(page["configs"]?.array?.count == 1)
            #expect(page["configs"]?[0]?["cluster"]?["name"]?.string == "c1")
            #expect(page["configs"]?[0]?["cluster"]?["load_assignment"] == nil)
            let all = try JSONValue.parse(Array(await get(admin, "/config_dump").body.utf8))
            let types = all["configs"]?.array?.compactMap { $0["@type"]?.string?.split(separator: ".").last } ?? []
            #expect(types == ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump"])
            #expect(await get(admin, "/config_dump?resource=nothing").status == 404)
        }
    }

    @Test("certificates are told with their names and for how long they hold")
    func certificates() throws {
        let authority = try CertificateAuthority.create(commonName: "admin-test")
        let pem = authority.certificate.pem
        let listener: JSONValue = [
            "transport_socket": [
                "typed_config": [
                    "common_tls_context": [
                        "validation_context": ["trusted_ca": ["inline_string": .string(pem)]],
                        "tls_certificates": [["certificate_chain": ["inline_string": .string(pem)]]],
                    ]
                ]
            ]
        ]
        let page = CertificatesPage.certificates(in: listener)
        #expect(page.count == 1)
        #expect(page.first?["ca_cert"]?[0]?["path"]?.string == "<inline>")
        #expect(page.first?["cert_chain"]?[0]?["serial_number"]?.string == authority.certificate.serial)
        #expect(CertificatesPage.certificates(in: ["name": "plain"]).isEmpty)
    }

    @Test("private keys and passwords are not told")
    func secrets() throws {
        let source: JSONValue = ["inline_string": "confidential"]
        let listener: JSONValue = [
            "tls_certificates": [["private_key": source, "password": source, "certificate_chain": ["filename": "a"]]],
            "session_ticket_keys": ["keys": [source]],
        ]
        var dump = ConfigDump()
        dump.addBootstrap(listener, updated: "")
        dump.addListeners([
            ConfigDump.Entry(name: "a", resource: listener, version: "", updated: "", isStatic: true)
        ])
        let text = JSONValue.array(dump.parts).encodedString()
        #expect(!text.contains("confidential"))
        #expect(text.contains("[redacted]"))
        #expect(text.contains("\"filename\":\"a\""))
    }
}
