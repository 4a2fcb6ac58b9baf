import Bytes
import HTTP
import JSON
import Reactor
import TLS
import TestSupport
import Testing

@testable import Proxy

/// Route configurations and secrets that listeners ask for by name, and what the admin port tells of all that came.
@Suite(
    "Routes and secrets from a control plane",
    .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct DiscoveredNamesTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    private func routes(_ name: String, _ status: Int, more: JSONObject = [:]) -> JSONValue {
        var table: JSONObject = [
            "@type": ControlPlane.url(ControlPlane.routes), "name": .string(name),
            "virtual_hosts": [
                [
                    "name": "all", "domains": ["*"],
                    "routes": [["match": ["prefix": "/"], "direct_response": ["status": .int(Int64(status))]]],
                ]
            ],
        ]
        for member in more { table[member.key] = member.value }
        return .object(table)
    }

    private func web(_ name: String, _ routes: String, fetchTimeout: String = "15s") -> JSONValue {
        ControlPlane.listener(
            name,
            routes: [
                "rds": [
                    "route_config_name": .string(routes),
                    "config_source": [
                        "ads": [:], "resource_api_version": "V3", "initial_fetch_timeout": .string(fetchTimeout),
                    ],
                ]
            ])
    }

    @Test(
        "a listener's routes are asked for by name, and change without the listener", arguments: ["GRPC", "DELTA_GRPC"])
    func routes(api: String) async throws {
        try await ControlPlane.run { plane in
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", [web("web", "r"), web("other", "r")])
            try await plane.set(ControlPlane.routes, "r1", [routes("r", 201), routes("unwanted", 500)])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                for listener in ["web", "other"] { #expect(try await bench.exchange(get, listener).status == 201) }
                let asked = try await plane.request(ControlPlane.routes)
                #expect(asked["names"] == ["r"])
                try await plane.set(ControlPlane.routes, "r2", [routes("r", 202)])
                for listener in ["web", "other"] {
                    try await bench.until { try await bench.exchange(get, listener).status == 202 }
                }
                let bad = routes("r", 203, more: ["ignore_path_parameters_in_path_matching": true])
                try await plane.set(ControlPlane.routes, "r3", [bad])
                let refusal = try await plane.next {
                    $0["kind"]?.string == ControlPlane.routes && $0["error"]?.string?.isEmpty == false
                }
                #expect(refusal["error"]?.string?.contains("ignore_path_parameters_in_path_matching") == true)
                #expect(try await bench.exchange(get, "web").status == 202)
                // Nobody needs it any more.
                try await plane.set(ControlPlane.listener, "l2", [ControlPlane.web("web", to: "", status: 204)])
                try await bench.until { try await bench.exchange(get, "web").status == 204 }
            }
        }
    }

    @Test("routes that never come leave the listener without any, after its time-out")
    func lateRoutes() async throws {
        try await ControlPlane.run { plane in
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", [web("web", "r", fetchTimeout: "0.2s")])
            // Who waits is told by two at one time, of whom one has nothing left to do.
            for _ in 0..<8 {
                try await plane.set(ControlPlane.routes, "r0", [])
                try await ProxyBench.run(ControlPlane.bootstrap(port: plane.port)) { bench in
                    #expect(try await bench.exchange(get, "web").status == 404)
                    try await plane.set(ControlPlane.routes, "r1", [routes("r", 201)])
                    try await bench.until { try await bench.exchange(get, "web").status == 201 }
                }
            }
        }
    }

    @Test(
        "a listener's certificate comes by name, and a new one is for new connections",
        arguments: ["GRPC", "DELTA_GRPC"])
    func secrets(api: String) async throws {
        func family(_ name: String) throws -> (CertificateAuthority, JSONValue) {
            let authority = try CertificateAuthority.create(commonName: name)
            let template = CertificateTemplate(
                subject: DistinguishedName(commonName: name), names: AlternativeNames(dns: ["a.test"]), purpose: .peer)
            let identity = try authority.issue(template)
            return (
                authority,
                [
                    "@type": ControlPlane.url(ControlPlane.secret), "name": "server",
                    "tls_certificate": [
                        "certificate_chain": ["inline_string": .string(identity.chain[0].pem)],
                        "private_key": ["inline_string": .string(identity.key.pem)],
                    ],
                ]
            )
        }
        let (first, second) = (try family("first"), try family("second"))
        var listener = ControlPlane.web("tls", to: "", status: 200).object ?? [:]
        let chain = listener["filter_chains"]?[0]?.object ?? [:]
        var secure = chain
        secure["transport_socket"] = [
            "name": "tls",
            "typed_config": [
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": [
                    "tls_certificate_sds_secret_configs": [
                        ["name": "server", "sds_config": ["ads": [:], "resource_api_version": "V3"]]
                    ]
                ],
            ],
        ]
        listener["filter_chains"] = [.object(secure)]
        let tls = JSONValue.object(listener)
        try await ControlPlane.run { plane in
            try await plane.set(ControlPlane.cluster, "c1", [])
            try await plane.set(ControlPlane.listener, "l1", [tls])
            try await plane.set(ControlPlane.secret, "s1", [first.1])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                let answers = { (authority: CertificateAuthority) async throws -> Bool in
                    let verification = PeerVerification(trust: .authorities([authority.certificate]))
                    let client = HTTPClient(
                        on: bench.group.all[0],
                        endpoint: try #require(HTTPEndpoint(try await bench.address(of: "tls"), isSecure: true)),
                        tls: try TLSContext(client: TLSClientConfiguration(verification: verification)))
                    return (try? await client.request("GET", "/").status) == 200
                }
                let asked = try await plane.request(ControlPlane.secret)
                #expect(asked["names"] == ["server"])
                #expect(try await answers(first.0))
                try await plane.set(ControlPlane.secret, "s2", [second.1])
                try await bench.until { try await answers(second.0) }
                #expect(try await answers(first.0) == false)
                try await plane.set(
                    ControlPlane.secret, "s3", [["@type": ControlPlane.url(ControlPlane.secret), "name": "server"]])
                let refusal = try await plane.next {
                    $0["kind"]?.string == ControlPlane.secret && $0["error"]?.string?.isEmpty == false
                }
                #expect(refusal["error"]?.string?.contains("server: ") == true)
                let samples = await bench.server.stats().samples
                let value = { (leaf: String) in samples.first { $0.name == "sds.server.\(leaf)" }?.value }
                #expect(value("update_success") == 2)
                #expect(value("update_rejected") == 1)
                #expect(value("update_attempt") == 4)
                #expect(try await answers(second.0))
            }
        }
    }

    @Test("the admin port tells versions, refusals and counters", arguments: ["GRPC", "DELTA_GRPC"])
    func told(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.discovered("app")])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            try await ProxyBench.run(ControlPlane.bootstrap(api, port: plane.port)) { bench in
                let bad: JSONValue = ["@type": ControlPlane.url(ControlPlane.listener), "name": "bad"]
                try await plane.set(ControlPlane.listener, "l2", [ControlPlane.web("web", to: "app"), bad])
                _ = try await plane.next {
                    $0["kind"]?.string == ControlPlane.listener && $0["error"]?.string?.isEmpty == false
                }
                let report = await bench.server.stats()
                let value = { (name: String) in report.samples.first { $0.name == name }?.value }
                let text = { (name: String) in report.texts.first { $0.name == name }?.value }
                #expect(value("control_plane.connected_state") == 1)
                #expect(value("cluster_manager.cds.update_success") == 1)
                #expect(value("listener_manager.lds.update_success") == 1)
                #expect(value("listener_manager.lds.update_rejected") == 1)
                // One when it asks, and one for each response, as Envoy counts.
                #expect(value("listener_manager.lds.update_attempt") == 3)
                #expect(text("listener_manager.lds.version_text") == "l1")
                #expect(text("control_plane.identifier") == "grpcio")
                #expect(value("control_plane.rate_limit_enforced") == 0)
                #expect(value("cluster_manager.cds.config_reload") == 1)
                #expect(value("cluster.app.update_attempt") == 2)
                #expect(value("cluster.app.update_success") == 1)
                #expect(text("cluster.app.version_text") == "e1")
                let dump = await bench.server.configDump(withEndpoints: true)
                let clusters = try #require(dump.elements("dynamic_active_clusters"))
                #expect(clusters.count == 1 && clusters[0]["client_status"] == "ACKED")
                let listeners = try #require(dump.elements("dynamic_listeners"))
                #expect(listeners.compactMap { $0["name"]?.string } == ["bad", "web"])
                #expect(listeners[0]["client_status"] == "NACKED" && listeners[0]["active_state"] == nil)
                #expect(listeners[0]["error_state"]?["version_info"] == "l2")
                #expect(listeners[0]["error_state"]?["details"]?.string?.contains("address") == true)
                #expect(listeners[1]["client_status"] == "ACKED")
                #expect(listeners[1]["active_state"]?["listener"]?["name"] == "web")
                let endpoints = try #require(dump.elements("dynamic_endpoint_configs"))
                #expect(endpoints[0]["endpoint_config"]?["cluster_name"] == "app")
                if api == "GRPC" { #expect(clusters[0]["version_info"] == "c1") }
            }
            // The proxy is gone, and so is its stream.
            _ = try await plane.next { $0["event"] == "close" }
        }
    }

    @Test("streams of their own for clusters, endpoints and listeners", arguments: ["GRPC", "DELTA_GRPC"])
    func separate(api: String) async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            let source: JSONObject = [
                "resource_api_version": "V3",
                "api_config_source": [
                    "api_type": .string(api), "transport_api_version": "V3",
                    "grpc_services": [
                        [
                            "envoy_grpc": ["cluster_name": "xds"],
                            "initial_metadata": [["key": "X-Token", "value": "abc"]],
                        ]
                    ],
                ],
            ]
            var app = ControlPlane.discovered("app").object ?? [:]
            app["eds_cluster_config"] = ["eds_config": .object(source)]
            try await plane.set(ControlPlane.cluster, "c1", [.object(app)])
            try await plane.set(ControlPlane.endpoints, "e1", [ControlPlane.assignment("app", port)])
            try await plane.set(ControlPlane.listener, "l1", [ControlPlane.web("web", to: "app")])
            let text = ControlPlane.bootstrap(api, port: plane.port)
            let config = JSONValue.object(source).encodedString()
            let own = text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
                for field in ["cds_config", "lds_config"] where line.contains(field) { return "  \(field): \(config)" }
                return String(line)
            }
            try await ProxyBench.run(own.joined(separator: "\n")) { bench in
                try await bench.until { (try? await bench.exchange(get, "web").body) == "up" }
                let kind = api == "GRPC" ? "Stream" : "Delta"
                for method in [
                    "cluster.v3.ClusterDiscoveryService/\(kind)Clusters",
                    "endpoint.v3.EndpointDiscoveryService/\(kind)Endpoints",
                    "listener.v3.ListenerDiscoveryService/\(kind)Listeners",
                ] {
                    let open = try await plane.next { $0["method"]?.string == "/envoy.service.\(method)" }
                    #expect(open["metadata"]?["x-token"] == "abc")
                }
                // Each response names its kind, so the node is in every request where that is not asked to be saved.
                #expect(plane.untaken.allSatisfy { $0["names_node"] == true })
            }
        }
    }
}
