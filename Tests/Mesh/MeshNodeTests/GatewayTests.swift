import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Reactor
import TLS
import TestSupport
import Testing

@testable import MeshControl

/// Gateways from the API to the last byte: the real Envoy and ours, with what a node's sockets give them.
@Suite(
    "Gateways and their routes", .enabled(if: OwnAddress.v4 != nil, "this machine has no address of its own"))
struct GatewayTests {
    private static func to(_ name: String, _ weight: Int64 = 1, filters: [JSONValue] = []) -> JSONValue {
        var reference: JSONValue = ["name": .string(name), "port": 80, "weight": .int(weight)]
        if !filters.isEmpty { reference["filters"] = .array(filters) }
        return reference
    }

    private static func rule(
        _ path: String, type: String = "PathPrefix", match: JSONObject = [:], filters: [JSONValue] = [],
        _ backends: JSONValue...
    ) -> JSONValue {
        var condition = match
        condition["path"] = ["type": .string(type), "value": .string(path)]
        var rule: JSONValue = ["matches": [.object(condition)]]
        if !filters.isEmpty { rule["filters"] = .array(filters) }
        if !backends.isEmpty { rule["backendRefs"] = .array(backends) }
        return rule
    }

    private static func redirect(_ fields: JSONValue) -> JSONValue {
        ["type": "RequestRedirect", "requestRedirect": fields]
    }

    private static func rewrite(_ fields: JSONValue) -> JSONValue { ["type": "URLRewrite", "urlRewrite": fields] }

    /// Features by upstream's names; HOST is the gateway's HTTP address.
    private static let requests: [(feature: String, arguments: [String], answer: String)] = [
        ("HTTPRouteExactPathMatching", ["HOST/exact"], "200 v2 /exact"),
        ("HTTPRouteExactPathMatching", ["HOST/exact/"], "404"),
        ("HTTPRouteMatching", ["HOST/v2x"], "404"), ("HTTPRouteMatching", ["HOST/v2/x"], "200 v2 /v2/x"),
        ("HTTPRoutePathMatchOrder", ["HOST/v2/longer/x"], "200 v1 /v2/longer/x"),
        ("HTTPRouteMethodMatching", ["-X", "POST", "HOST/method"], "200 v1 /method"),
        ("HTTPRouteMethodMatching", ["HOST/method"], "404"),
        ("HTTPRouteHeaderMatching", ["-H", "X-Version: two", "HOST/header"], "200 v2 /header"),
        ("HTTPRouteHeaderMatching", ["-H", "X-Version: two2", "HOST/header"], "404"),
        ("HTTPRouteQueryParamMatching", ["HOST/query?animal=whale"], "200 v1 /query?animal=whale"),
        ("HTTPRouteRedirectHostAndStatus", ["HOST/moved"], "301 https://other.example.org/moved"),
        ("HTTPRouteRedirectPath", ["HOST/old/x"], "308 HOST/new/x"),
        ("HTTPRouteRedirectPath", ["HOST/old"], "308 HOST/new"),
        ("HTTPRouteRedirectPort", ["HOST/port"], "302 http://127.0.0.1:8083/port"),
        ("HTTPRouteRewritePath", ["HOST/prefix/x?y=1"], "200 v1 /one/x?y=1"),
        ("HTTPRouteRewritePath", ["HOST/full/x?y=1"], "200 v1 /one?y=1"),
        ("HTTPRouteBackendURLRewrite", ["HOST/apart/x"], "200 v2 /two/x"),
        ("HTTPRouteInvalidNonExistentBackendRef", ["HOST/gone"], "500"),
        ("HTTPRouteListenerHostnameMatching", ["-H", "Host: foo.example.com", "HOST/foo"], "200 v2 /foo"),
        ("GatewayHTTPListenerIsolation", ["-H", "Host: foo.example.com", "HOST/exact"], "404"),
        ("HTTPRouteNamedRouteRule", ["-H", "Host: foo.example.com:81", "HOST/foo"], "200 v2 /foo"),
    ]

    @Test("each feature by a request that needs it", arguments: MeshProxy.Maker.there)
    func features(maker: MeshProxy.Maker) async throws {
        try await GatewayBench.run(maker) { bench in
            for name in ["v1", "v2"] { try await bench.backend(name) }
            try await bench.route(
                "HTTPRoute", "paths", section: "http", Self.rule("/exact", type: "Exact", Self.to("v2")),
                Self.rule("/v2", Self.to("v2")), Self.rule("/v2/longer", Self.to("v1")),
                Self.rule("/method", match: ["method": "POST"], Self.to("v1")),
                Self.rule("/header", match: ["headers": [["name": "x-version", "value": "two"]]], Self.to("v2")),
                Self.rule("/query", match: ["queryParams": [["name": "animal", "value": "whale"]]], Self.to("v1")),
                Self.rule("/gone", Self.to("gone")))
            try await bench.route(
                "HTTPRoute", "changes", section: "http",
                Self.rule(
                    "/moved",
                    filters: [
                        Self.redirect(["scheme": "https", "hostname": "other.example.org", "statusCode": 301])
                    ]),
                Self.rule(
                    "/old",
                    filters: [
                        Self.redirect([
                            "path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"], "statusCode": 308,
                        ])
                    ]), Self.rule("/port", filters: [Self.redirect(["port": 8083])]),
                Self.rule(
                    "/prefix",
                    filters: [
                        Self.rewrite(["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/one"]])
                    ], Self.to("v1")),
                Self.rule(
                    "/full",
                    filters: [Self.rewrite(["path": ["type": "ReplaceFullPath", "replaceFullPath": "/one"]])],
                    Self.to("v1")),
                Self.rule(
                    "/apart", Self.to("v1", 0),
                    Self.to(
                        "v2",
                        filters: [
                            Self.rewrite(["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/two"]])
                        ])),
                Self.rule(
                    "/heads",
                    filters: [
                        [
                            "type": "RequestHeaderModifier",
                            "requestHeaderModifier": [
                                "set": [["name": "X-Set", "value": "50%"]], "remove": ["X-Gone"],
                            ],
                        ],
                        [
                            "type": "ResponseHeaderModifier",
                            "responseHeaderModifier": [
                                "add": [["name": "X-Added", "value": "r"]], "remove": ["X-Drop"],
                            ],
                        ],
                    ], Self.to("v1")),
                Self.rule(
                    "/cors",
                    filters: [
                        [
                            "type": "CORS",
                            "cors": [
                                "allowOrigins": ["https://*.example.com"], "allowMethods": ["GET"], "maxAge": 60,
                            ],
                        ]
                    ], Self.to("v1")))
            var named = Self.rule("/foo", Self.to("v2"))
            named["name"] = "the-only-one"
            try await bench.route("HTTPRoute", "foo", section: "foo", hostnames: ["foo.example.com"], named)
            try await bench.route("TCPRoute", "tcp", section: "tcp", ["backendRefs": [Self.to("v2")]])
            let base = "http://127.0.0.1:\(bench.http)"
            func filled(_ text: String) -> String { text.replacing("HOST", with: base) }
            for (feature, arguments, answer) in Self.requests {
                var seen = ""
                try await bench.mesh.eventually("\(feature): \(answer)") {
                    seen = try await bench.curl(arguments.map(filled))
                    return seen == filled(answer)
                }
                #expect(seen == filled(answer), "\(feature)")
            }
            let heads = try await bench.raw(["-H", "X-Gone: 1", base + "/heads"])
            #expect(heads.contains("\"x-set\":\"50%\"") && !heads.contains("x-gone"), "\(heads)")
            #expect(heads.contains("x-added: r") && !heads.lowercased().contains("x-drop"), "\(heads)")
            let preflight = try await bench.raw([
                "-X", "OPTIONS", "-H", "Origin: https://a.example.com", "-H", "Access-Control-Request-Method: GET",
                base + "/cors",
            ])
            #expect(preflight.contains("access-control-allow-origin: https://a.example.com"), "\(preflight)")
            #expect(preflight.contains("access-control-max-age: 60"), "\(preflight)")
            let stream = try await bench.curl(["http://127.0.0.1:\(bench.tcp)/tcp"])
            #expect(stream == "200 v2 /tcp")
        }
    }

    @Test(
        "TLS is ended with a Secret's certificate, misdirected, or led on; a backend's policy is obeyed",
        arguments: MeshProxy.Maker.there)
    func tls(maker: MeshProxy.Maker) async throws {
        try await GatewayBench.run(maker) { bench in
            try await bench.backend("v1")
            let identity = try bench.mesh.cluster.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "inside"),
                    names: AlternativeNames(dns: ["cart.internal", "pass.example.org"]), purpose: .server))
            try await bench.backend("secure", tls: try TLSContext(serving: [identity], protocols: ["http/1.1"]))
            try await bench.route(
                "HTTPRoute", "web", section: "https", Self.rule("/", Self.to("v1")), Self.rule("/s", Self.to("secure")))
            try await bench.route("HTTPRoute", "a", section: "a", Self.rule("/", Self.to("v1")))
            try await bench.route(
                "TLSRoute", "pass", section: "pass", hostnames: ["pass.example.org"],
                ["backendRefs": [Self.to("secure")]])
            func get(_ name: String, _ path: String, host: String? = nil) async throws -> String {
                try await bench.curl(
                    [
                        "--http1.1", "--resolve", "\(name):\(bench.https):127.0.0.1",
                        "https://\(name):\(bench.https)\(path)",
                    ] + (host.map { ["-H", "Host: \($0)"] } ?? []))
            }
            // Without its Secret a listener is not there, and says why.
            try await bench.mesh.eventually("the listener lacks its Secret") {
                try await bench.condition("ResolvedRefs", listener: "https").text("reason") == "InvalidCertificateRef"
            }
            try await bench.secret("tls", for: "*.example.com")
            try await bench.mesh.eventually("it answers by TLS") {
                try await get("w.example.com", "/x") == "200 v1 /x"
            }
            #expect(try await bench.condition("ResolvedRefs", listener: "https").text("status") == "True")
            #expect(try await get("w.example.com", "/x", host: "a.example.com") == "421")
            #expect(try await get("a.example.com", "/x", host: "w.example.com") == "421")
            #expect(try await get("a.example.com", "/x") == "200 v1 /x")
            // What is led on is ended by the backend itself.
            try await bench.mesh.eventually("TLS is led on") {
                try await get("pass.example.org", "/p") == "200 secure /p"
            }
            // Spoken to in plain text the backend has no answer.
            #expect(try await get("w.example.com", "/s") != "200 secure /s")
            var authorities = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "shop", name: "inside")
            authorities.json["data"] = ["ca.crt": .string(bench.mesh.cluster.certificate.pem)]
            try await bench.mesh.client.create(.configMaps, authorities)
            try await GatewayBench.make(
                bench.mesh, "backendtlspolicies", "BackendTLSPolicy", "inside",
                [
                    "targetRefs": [["group": "", "kind": "Service", "name": "secure"]],
                    "validation": [
                        "hostname": "cart.internal",
                        "caCertificateRefs": [["group": "", "kind": "ConfigMap", "name": "inside"]],
                    ],
                ])
            try await bench.mesh.eventually("the backend is spoken to by TLS") {
                try await get("w.example.com", "/s") == "200 secure /s"
            }
        }
    }

    @Test(
        "what a proxy refuses stands in the Gateway's status in its words, until it no longer does",
        arguments: MeshProxy.Maker.there.filter { $0 == .envoy })
    func refusal(maker: MeshProxy.Maker) async throws {
        // A port that somebody else has.
        let taken = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(taken) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isTaken = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(taken, $0, size) == 0 && listen(taken, 1) == 0 && getsockname(taken, $0, &size) == 0
            }
        }
        try #require(isTaken)
        let port = Int64(UInt16(bigEndian: address.sin_port))
        try await GatewayBench.run(
            maker, more: [["name": "taken", "port": .int(port), "protocol": "HTTP"]]
        ) { bench in
            try await bench.mesh.eventually("the refusal is told") {
                try await bench.condition("Programmed").text("message").contains("\(port)")
            }
            #expect(try await bench.condition("Programmed").text("reason") == "Invalid")
            // The other listeners are none the worse for it.
            try await bench.backend("v1")
            try await bench.route("HTTPRoute", "r", section: "http", Self.rule("/", Self.to("v1")))
            try await bench.mesh.eventually("the others go on") {
                try await bench.curl(["http://127.0.0.1:\(bench.http)/x"]) == "200 v1 /x"
            }
            let gateways = GroupVersionResource(group: GatewayBench.group, resource: "gateways")
            let key = ObjectKey(namespace: "shop", name: "edge")
            let listeners = try await bench.mesh.client.get(gateways, key).spec.list("listeners")
            try await bench.mesh.client.patch(
                gateways, key, .merge,
                ["spec": ["listeners": .array(listeners.filter { $0.text("name") != "taken" })]])
            try await bench.mesh.eventually("it is over") {
                try await !bench.condition("Programmed").text("message").contains("\(port)")
            }
        }
    }
}
