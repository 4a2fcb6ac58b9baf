import Bytes
import ClusterAPI
import ClusterClient
import ClusterFixture
import Glibc
import HTTP
import JSON
import Reactor
import Synchronization
import TLS
import TestSupport
import Testing

/// Who is let in at a Gateway, by requests at the real Envoy and at ours.
@Suite(
    "Policies at Gateways", .enabled(if: OwnAddress.v4 != nil, "this machine has no address of its own"),
    .timeLimit(.minutes(5)))
struct GatewayPolicyTests {
    private static func backend(_ bench: GatewayBench) async throws {
        try await bench.backend("v1")
        try await bench.route(
            "HTTPRoute", "web", section: "http",
            ["backendRefs": [["name": "v1", "port": 80]]],
            [
                "matches": [["path": ["type": "PathPrefix", "value": "/api/moved"]]],
                "filters": [
                    ["type": "RequestRedirect", "requestRedirect": ["hostname": "other.test", "statusCode": 301]]
                ],
            ])
        try await bench.route(
            "TCPRoute", "tcp", section: "tcp", ["backendRefs": [["name": "v1", "port": 80]]])
        try await bench.mesh.eventually("the gateway answers") {
            try await bench.curl(["http://127.0.0.1:\(bench.http)/api"]) == "200 v1 /api"
        }
        try await bench.mesh.eventually("streams are led on") {
            try await bench.curl(["http://127.0.0.1:\(bench.tcp)/t"]) == "200 v1 /t"
        }
    }

    @Test(
        "denied, allowed and audited: by the Gateway's name, its namespace and the mesh",
        arguments: MeshProxy.Maker.there)
    func authorization(maker: MeshProxy.Maker) async throws {
        try await GatewayBench.run(maker) { bench in
            try await Self.backend(bench)
            func ask(_ path: String, _ more: String...) async throws -> String {
                try await bench.curl(["http://127.0.0.1:\(bench.http)\(path)"] + more)
            }
            func eventually(_ answer: String, _ path: String, _ more: String...) async throws {
                var seen = ""
                try await bench.mesh.eventually("\(path) \(more): \(answer)") {
                    seen = try await bench.curl(["http://127.0.0.1:\(bench.http)\(path)"] + more)
                    return seen == answer
                }
            }
            try await bench.policy(
                "AuthorizationPolicy", "no-admin", isForEdge: true,
                ["action": "DENY", "rules": [["to": [["operation": ["paths": ["/api/admin*"]]]]]]])
            try await eventually("403", "/api/admin/x")
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            try await bench.policy(
                "AuthorizationPolicy", "no-delete",
                ["action": "DENY", "rules": [["to": [["operation": ["methods": ["DELETE"]]]]]]])
            try await eventually("403", "/api/x", "-X", "DELETE")
            try await bench.policy(
                "AuthorizationPolicy", "no-bots", in: "kube-system",
                [
                    "action": "DENY",
                    "rules": [["when": [["key": "request.headers[user-agent]", "values": ["bot*"]]]]],
                ])
            try await eventually("403", "/api/x", "-A", "bot/1")
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            // Another Gateway's is none of its business, and says so.
            try await bench.policy(
                "AuthorizationPolicy", "other",
                [
                    "targetRefs": [["group": .string(GatewayBench.group), "kind": "Gateway", "name": "none"]],
                    "action": "DENY", "rules": [[:]],
                ])
            try await bench.mesh.eventually("it is told that there is no such Gateway") {
                try await bench.condition("AuthorizationPolicy", "other", "Accepted").hasPrefix("False TargetNotFound")
            }
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            // What one allows, nothing else is.
            try await bench.policy(
                "AuthorizationPolicy", "only-api", isForEdge: true,
                ["action": "ALLOW", "rules": [["to": [["operation": ["paths": ["/api", "/api/*"]]]]]]])
            try await eventually("403", "/x")
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            #expect(try await ask("/api/admin") == "403", "who denies is asked before who allows")
            #expect(try await ask("/api/moved") == "301 http://other.test:\(bench.http)/api/moved")
            // A stream has no path: who denies by paths denies all of it, as long as it says nothing of ports.
            #expect(try await bench.curl(["http://127.0.0.1:\(bench.tcp)/t"]) == "000")
            try await bench.mesh.eventually("it says that it is enforced") {
                try await bench.condition("AuthorizationPolicy", "only-api", "weft.dev/Effective").hasPrefix(
                    "True Enforced")
            }
            // What is audited is told, whatever is decided.
            try await bench.policy(
                "AuthorizationPolicy", "watch", isForEdge: true,
                ["action": "AUDIT", "rules": [["to": [["operation": ["paths": ["/api/watched*"]]]]]]])
            try await bench.mesh.eventually("it is told of") {
                _ = try await ask("/api/watched")
                return try bench.output().contains("audit ns[shop]-policy[watch]-rule[0]")
            }
            #expect(try !bench.output().contains("/api/x"))
            for name in ["only-api", "no-admin", "no-delete", "watch"] {
                try await bench.remove("AuthorizationPolicy", name)
            }
            try await bench.remove("AuthorizationPolicy", "no-bots", in: "kube-system")
            try await eventually("200 v1 /x", "/x")
            try await eventually("200 v1 /api/admin", "/api/admin")
            try await bench.mesh.eventually("streams are let in again") {
                try await bench.curl(["http://127.0.0.1:\(bench.tcp)/t"]) == "200 v1 /t"
            }
        }
    }

    /// What it is asked, and what it says: who knows the word is alice, all others have to say who they are.
    private static func authorizer(_ asked: Asked) -> HTTPClosureHandler {
        HTTPClosureHandler { request, response in
            asked.targets.withLock { $0.append(request.target) }
            if request.headers["x-word"] == "sesame" {
                await response.send(status: 200, headers: ["x-user": "alice", "x-other": "1"], body: [])
            } else {
                await response.send(status: 401, headers: ["x-reason": "no word"], body: Array("who are you?".utf8))
            }
        }
    }

    private static func settings(_ more: String = "") -> String {
        """
        accessLogFile: /dev/stdout
        extensionProviders:
        - name: tracer
          zipkin: {service: zipkin.shop.svc.cluster.local, port: 9411}
        - name: asks
          envoyExtAuthzHttp:
            service: authorizer.shop.svc.cluster.local
            port: 80
            pathPrefix: /check
            timeout: 10s
            includeRequestHeadersInCheck: [x-word]
            headersToUpstreamOnAllow: [x-us*]
            headersToDownstreamOnDeny: [x-reason]
        \(more)
        """
    }

    @Test(
        "who is asked decides (CUSTOM), before those who deny; nobody passes unasked", arguments: MeshProxy.Maker.there)
    func asked(maker: MeshProxy.Maker) async throws {
        let seen = Asked()
        try await GatewayBench.run(maker) { bench in
            try await Self.backend(bench)
            try await bench.backend("authorizer", Self.authorizer(seen))
            func ask(_ path: String, _ more: String...) async throws -> String {
                try await bench.curl(["http://127.0.0.1:\(bench.http)\(path)"] + more)
            }
            func configure(_ text: String) async throws {
                var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "istio")
                map.json["data"] = ["mesh": .string(text)]
                try await bench.mesh.client.put(.configMaps, map)
            }
            try await bench.policy(
                "AuthorizationPolicy", "asks", isForEdge: true,
                [
                    "action": "CUSTOM", "provider": ["name": "asks"],
                    "rules": [["to": [["operation": ["paths": ["/api/private*"]]]]]],
                ])
            // Nobody is there to be asked.
            try await bench.mesh.eventually("what nobody can be asked about is refused") {
                try await ask("/api/private") == "403"
            }
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            try await bench.mesh.eventually("it says so") {
                try await bench.condition("AuthorizationPolicy", "asks", "Accepted").hasPrefix(
                    "False Invalid nobody who authorizes is called asks in extensionProviders of ConfigMap istio")
            }
            try await configure(Self.settings())
            try await bench.mesh.eventually("it is asked, and refuses") { try await ask("/api/private/1") == "401" }
            try await bench.mesh.eventually("it is said to be enforced") {
                try await bench.condition("AuthorizationPolicy", "asks", "weft.dev/Effective").hasPrefix(
                    "True Enforced")
            }
            let refusal = try await bench.raw(["http://127.0.0.1:\(bench.http)/api/private/2"])
            #expect(refusal.contains("x-reason: no word") && refusal.hasSuffix("who are you?"), "\(refusal)")
            let known = try await bench.raw([
                "http://127.0.0.1:\(bench.http)/api/private/3", "-H", "x-word: sesame", "-H", "x-user: mallory",
            ])
            #expect(known.contains(#""x-user":"alice""#) && !known.contains("mallory"), "\(known)")
            #expect(!known.contains("x-other"))
            let count = seen.targets.withLock { $0.count }
            #expect(try await ask("/api/x") == "200 v1 /api/x")
            #expect(seen.targets.withLock { $0.count } == count, "it is asked about what it is for, and nothing else")
            #expect(seen.targets.withLock { $0 }.allSatisfy { $0.hasPrefix("/check/api/private") })
            // Others decide besides.
            try await bench.policy(
                "AuthorizationPolicy", "never", isForEdge: true,
                ["action": "DENY", "rules": [["to": [["operation": ["paths": ["/api/private/never"]]]]]]])
            try await bench.mesh.eventually("one that denies has its say") {
                try await ask("/api/private/never", "-H", "x-word: sesame") == "403"
            }
            #expect(try await ask("/api/private/never") == "401")
            // Away, it lets nobody pass, unless that is wished.
            let key = ObjectKey(namespace: "shop", name: "authorizer")
            try await bench.mesh.client.delete(.endpointSlices, key)
            try await bench.mesh.eventually("nobody passes while it is away") {
                try await ask("/api/private/4", "-H", "x-word: sesame") == "403"
            }
            try await configure(Self.settings("    failOpen: true"))
            try await bench.mesh.eventually("all pass while it is away") {
                try await ask("/api/private/5") == "200 v1 /api/private/5"
            }
            try await configure("extensionProviders: [")
            try await bench.mesh.eventually("settings that cannot be read are told") {
                try await bench.condition("AuthorizationPolicy", "asks", "Accepted").hasPrefix(
                    "False Invalid ConfigMap kube-system/istio, member mesh: ")
            }
            try await bench.mesh.eventually("and refused again") { try await ask("/api/private/6") == "403" }
            try await bench.remove("AuthorizationPolicy", "asks")
            try await bench.mesh.eventually("all pass") { try await ask("/api/private/7") == "200 v1 /api/private/7" }
        }
    }

    private static let library = PythonPackage.folder(
        "grpcio", "1.85.0", named: "xds-server", probe: "grpc/__init__.py",
        with: ["xds-protos==1.85.0", "protobuf==7.36.2", "typing_extensions==4.16.0"])

    @Test(
        "who is asked may speak gRPC: its own server decides",
        .enabled(if: library != nil, "grpcio cannot be installed"),
        arguments: MeshProxy.Maker.there)
    func askedByGRPC(maker: MeshProxy.Maker) async throws {
        try await GatewayBench.run(maker) { bench in
            try await Self.backend(bench)
            let output = bench.mesh.folder.path + "/authorizer"
            let (input, held) = try ChildProcess.makePipe()
            let file = open(output, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
            var program = ChildProcess.Configuration([
                "python3", #filePath.replacing("GatewayPolicyTests.swift", with: "authorizer.py"),
            ])
            program.environment = [
                "PATH=\(Environment["PATH"] ?? "/usr/bin:/bin")", "PYTHONPATH=\(Self.library ?? "")",
                "PYTHONDONTWRITEBYTECODE=1",
            ]
            program.descriptors = [0: input, 1: file]
            let authorizer = try await ChildProcess.start(program, on: bench.mesh.loop)
            defer { for descriptor in [input, held, file] { close(descriptor) } }
            defer { authorizer.kill(9) }
            func lines() throws -> [Substring] { try Files.readText(output).split(separator: "\n") }
            try await bench.mesh.eventually("it listens") { try !lines().isEmpty }
            try await bench.expose("authorizer", port: try #require(Int64(try lines()[0])))
            var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "istio")
            map.json["data"] = [
                "mesh": """
                extensionProviders:
                - name: asks
                  envoyExtAuthzGrpc: {service: authorizer.shop.svc.cluster.local, port: 80, timeout: 10s}
                """
            ]
            try await bench.mesh.client.put(.configMaps, map)
            try await bench.policy(
                "AuthorizationPolicy", "asks", isForEdge: true,
                [
                    "action": "CUSTOM", "provider": ["name": "asks"],
                    "rules": [["to": [["operation": ["paths": ["/api/private*"]]]]]],
                ])
            let base = "http://127.0.0.1:\(bench.http)"
            try await bench.mesh.eventually("it is asked, and refuses") {
                try await bench.curl([base + "/api/private/1"]) == "401"
            }
            #expect(try await bench.raw([base + "/api/private/2"]).hasSuffix("who are you?"))
            let known = try await bench.raw([base + "/api/private/3", "-H", "x-word: sesame"])
            #expect(known.contains(#""x-user":"alice""#), "\(known)")
            #expect(try await bench.curl([base + "/api/x"]) == "200 v1 /api/x")
            let asked = try lines().dropFirst()
            #expect(asked.contains("/api/private/3") && asked.allSatisfy { $0.hasPrefix("/api/private") }, "\(asked)")
        }
    }

    private final class Asked: Sendable {
        let targets = Mutex<[String]>([])
    }

    private static let secret = Array("a secret of the test's own, which is long enough".utf8)

    private static func packed(_ bytes: [UInt8]) -> String {
        Base64.encode(bytes).replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func token(_ subject: String, of issuer: String = "https://issuer.test", until: Int64) -> String {
        let head: JSONValue = ["alg": "HS256", "typ": "JWT", "kid": "1"]
        let claims: JSONValue = ["iss": .string(issuer), "sub": .string(subject), "exp": .int(until)]
        let text = [head, claims].map { packed(Array($0.encodedString().utf8)) }.joined(separator: ".")
        return text + "." + packed(Digest.hmacSHA256(key: secret, Array(text.utf8)))
    }

    @Test(
        "tokens are looked at, and asked for, for one Gateway, its namespace and the mesh",
        arguments: MeshProxy.Maker.there)
    func tokens(maker: MeshProxy.Maker) async throws {
        let keys: JSONValue = [
            "keys": [["kty": "oct", "alg": "HS256", "kid": "1", "k": .string(Self.packed(Self.secret))]]
        ]
        let now = Int64(time(nil))
        let alice = Self.token("alice", until: now + 3600)
        let tokens = [
            "forged": alice.dropLast(4) + "AAAA", "old": Self.token("alice", until: now - 3600)[...],
            "foreign": Self.token("alice", of: "https://other.test", until: now + 3600)[...],
        ]
        try await GatewayBench.run(maker) { bench in
            try await Self.backend(bench)
            func ask(_ token: (some StringProtocol)?) async throws -> String {
                try await bench.curl(
                    ["http://127.0.0.1:\(bench.http)/"] + (token.map { ["-H", "authorization: Bearer \($0)"] } ?? []))
            }
            let nobody: String? = nil
            for (namespace, isForEdge) in [("shop", true), ("shop", false), ("kube-system", false)] {
                let place = "\(namespace), \(isForEdge ? "by name" : "all of it")"
                try await bench.policy(
                    "RequestAuthentication", "tokens", in: namespace, isForEdge: isForEdge,
                    [
                        "jwtRules": [
                            [
                                "issuer": "https://issuer.test", "jwks": .string(keys.encodedString()),
                                "outputClaimToHeaders": [["header": "x-user", "claim": "sub"]],
                            ]
                        ]
                    ])
                try await bench.mesh.eventually("\(place): one that is none is refused") {
                    try await ask("no.token.this") == "401"
                }
                for (name, token) in tokens { #expect(try await ask(token) == "401", "\(place): \(name)") }
                #expect(try await ask(alice) == "200 v1 /", "\(place)")
                #expect(try await ask(nobody) == "200 v1 /", "\(place): who has none passes")
                let seen = try await bench.raw([
                    "http://127.0.0.1:\(bench.http)/", "-H", "authorization: Bearer \(alice)", "-H", "x-user: bob",
                ])
                #expect(seen.contains(#""x-user":"alice""#) && !seen.contains("bob"), "\(place): \(seen)")
                try await bench.policy(
                    "AuthorizationPolicy", "known", in: namespace, isForEdge: isForEdge,
                    [
                        "action": "ALLOW",
                        "rules": [["from": [["source": ["requestPrincipals": ["https://issuer.test/alice"]]]]]],
                    ])
                try await bench.mesh.eventually("\(place): who has none is not allowed") {
                    try await ask(nobody) == "403"
                }
                #expect(try await ask(alice) == "200 v1 /", "\(place)")
                #expect(try await ask(Self.token("bob", until: now + 3600)) == "403", "\(place)")
                #expect(try await ask("no.token.this") == "401", "\(place)")
                try await bench.remove("AuthorizationPolicy", "known", in: namespace)
                try await bench.remove("RequestAuthentication", "tokens", in: namespace)
                try await bench.mesh.eventually("\(place): nobody is asked") {
                    try await ask("no.token.this") == "200 v1 /"
                }
            }
        }
    }
}
