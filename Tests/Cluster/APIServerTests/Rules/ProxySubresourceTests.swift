import ClusterAPI
import HTTP
import JSON
import Reactor
import TLS
import Testing

@testable import APIServer

@Suite("What goes on to nodes and pods, and paths of other parts")
struct ProxySubresourceTests {
    /// An agent that tells what it was asked, and by whom; and its Node.
    private func startAgent(_ server: TestServer) async throws -> HTTPServer {
        let identity = try server.authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "node"),
                names: AlternativeNames(addresses: [.loopbackV4]), purpose: .server))
        let tls = try TLSContext(
            serving: [identity], clientCertificates: .required, trust: TrustPool([server.authority.certificate]))
        let agent = HTTPServer(
            group: server.group, address: .ip(.loopbackV4, 0, scope: 0), tls: tls,
            handler: HTTPClosureHandler { request, response in
                let user = request.tls?.chain.first?.subject.commonName ?? ""
                let secret = request.headers["authorization"] ?? "no credentials"
                let body = String(decoding: request.body, as: UTF8.self)
                await response.send(
                    status: 218, headers: ["x-kept": request.headers["x-kept"] ?? ""],
                    body: Array("\(request.method) \(request.target) \(body) for \(user), \(secret)".utf8))
            })
        let port = try await agent.start().port!.rawValue
        try await server.make(
            .nodes,
            [
                "metadata": ["name": "n1"],
                "status": [
                    "addresses": [["type": "InternalIP", "address": "127.0.0.1"]],
                    "daemonEndpoints": ["kubeletEndpoint": ["Port": .int(Int64(port))]],
                ],
            ])
        return agent
    }

    @Test("a node's agent is asked under the server's own name, with path, query, method and body as they were")
    func nodes() async throws {
        try await TestServer.with(tokens: "secret,jane,1", nodeAgents: true) { server in
            let agent = try await startAgent(server)
            let client = try server.client()
            let answer = try await client.http.request(
                "GET", "/api/v1/nodes/n1/proxy/mesh/shop/web%2F1/clusters?format=json&x=%20", headers: ["x-kept": "yes"]
            )
            #expect(answer.status == 218)
            #expect(answer.headers["x-kept"] == "yes")
            #expect(
                answer.text
                    == "GET /mesh/shop/web%2F1/clusters?format=json&x=%20  for kubelet-client, no credentials")
            let posted = try await client.http.request(
                "POST", "/api/v1/nodes/n1/proxy/mesh/logging?level=debug", body: Array("text".utf8))
            #expect(posted.text == "POST /mesh/logging?level=debug text for kubelet-client, no credentials")
            #expect(try await client.get("/api/v1/nodes/n1/proxy").status == 218)
            #expect(try await client.get("/api/v1/nodes/n2/proxy/x").status == 404)

            // What the user may, not what this server may.
            let jane = try server.client(as: nil)
            let refused = try await jane.send("GET", "/api/v1/nodes/n1/proxy/x", token: "secret")
            #expect(refused.status == 403)
            try await grant(server, "n1-proxy", [["apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]]])
            #expect(try await jane.send("GET", "/api/v1/nodes/n1/proxy/x", token: "secret").status == 218)
            #expect(try await jane.send("POST", "/api/v1/nodes/n1/proxy/x", token: "secret").status == 403)
            await agent.drain(deadline: .seconds(1))
        }
    }

    @Test("pods that have no address, or this machine's, are not asked")
    func pods() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            let pod: JSONValue = [
                "metadata": ["name": "p", "namespace": "default"],
                "spec": [
                    "containers": [["name": "c", "image": "i", "ports": [["name": "http", "containerPort": 8080]]]]
                ],
            ]
            try await server.make(.pods, pod)
            let pods = "/api/v1/namespaces/default/pods"
            #expect(try await client.get(pods + "/p:http/proxy/").status == 503)
            let status: JSONValue = ["status": ["podIP": "127.0.0.1", "podIPs": [["ip": "127.0.0.1"]]]]
            _ = try await client.send("PATCH", pods + "/p/status", status, type: "application/merge-patch+json")
            let refused = try await client.get(pods + "/p:http/proxy/")
            #expect(refused.status == 400, "\(refused.json)")
            #expect(refused.message.contains("is not allowed"))
            #expect(try await client.get(pods + "/p:grpc/proxy/").message.contains("no port named"))
            #expect(try await client.get(pods + "/none/proxy/").status == 404)
            #expect(try await client.get(pods + "/a:b:c:d/proxy/").status == 400)
        }
    }

    @Test(
        "names of what is asked",
        arguments: [
            ("web", false, "web", ""), ("web:80", false, "web", "80"), ("https:web:tls", true, "web", "tls"),
            ("http:web:", false, "web", ""),
        ])
    func names(text: String, isSecure: Bool, name: String, port: String) throws {
        let parsed = try ProxyName(text)
        #expect(parsed.isSecure == isSecure && parsed.name == name && parsed.port == port)
    }

    @Test("another part's paths are for its readers, by the role that comes with them")
    func paths() async throws {
        let path = ServedPath(prefix: "/mesh/", readerRole: "mesh-reader") { request throws(StatusError) in
            guard request.path != "/mesh/none" else { throw .pathNotFound() }
            return ServedPath.Answer(body: Array("[\"\(request.target)\"]".utf8))
        }
        try await TestServer.with(tokens: "secret,jane,1", paths: [path]) { server in
            let admin = try server.client()
            #expect(try await admin.get("/mesh/proxies?x=1").json == ["/mesh/proxies?x=1"])
            #expect(try await admin.get("/mesh").json == ["/mesh"])
            #expect(try await admin.get("/mesh/none").status == 404)
            #expect(try await admin.get("/meshes").status == 404)
            let jane = try server.client(as: nil)
            let refused = try await jane.send("GET", "/mesh/proxies", token: "secret")
            #expect(refused.status == 403)
            #expect(refused.message.contains("cannot get path \"/mesh/proxies\""))
            try await bind(server, "readers", to: "mesh-reader")
            #expect(try await jane.send("GET", "/mesh/proxies", token: "secret").status == 200)
            #expect(try await jane.send("GET", "/metrics", token: "secret").status == 403)
            #expect(try await jane.send("POST", "/mesh/proxies", token: "secret").status == 403)
        }
    }

    private static let group = "rbac.authorization.k8s.io"

    private func grant(_ server: TestServer, _ name: String, _ rules: JSONValue) async throws {
        try await server.make(
            GroupVersionResource(group: Self.group, resource: "clusterroles"),
            ["metadata": ["name": .string(name)], "rules": rules])
        try await bind(server, name, to: name)
    }

    /// To Jane.
    private func bind(_ server: TestServer, _ name: String, to role: String) async throws {
        try await server.make(
            GroupVersionResource(group: Self.group, resource: "clusterrolebindings"),
            [
                "metadata": ["name": .string(name)],
                "roleRef": ["apiGroup": .string(Self.group), "kind": "ClusterRole", "name": .string(role)],
                "subjects": [["apiGroup": .string(Self.group), "kind": "User", "name": "jane"]],
            ])
    }
}

@Suite("What a rule of a role allows")
struct RoleRuleTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var rule: JSONValue
        var asked: AccessAttributes
        var allows: Bool
        var testDescription: String { "\(rule) \(asked)" }
    }

    private static func asked(
        _ verb: String, _ resource: String = "", group: String = "", subresource: String = "", name: String = "",
        path: String = ""
    ) -> AccessAttributes {
        var attributes = AccessAttributes(verb: verb)
        attributes.resource = resource
        attributes.group = group
        attributes.subresource = subresource
        attributes.name = name
        attributes.path = path
        return attributes
    }

    private static let rows: [Row] = [
        Row(
            rule: ["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]], asked: asked("get", "pods"),
            allows: true),
        Row(
            rule: ["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]], asked: asked("list", "pods"),
            allows: false),
        Row(
            rule: ["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]],
            asked: asked("get", "pods", subresource: "log"), allows: false),
        Row(
            rule: ["apiGroups": [""], "resources": ["*/log"], "verbs": ["*"]],
            asked: asked("get", "pods", subresource: "log"), allows: true),
        Row(
            rule: ["apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]],
            asked: asked("get", "pods", group: "apps", subresource: "log"), allows: true),
        Row(
            rule: ["apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["a"], "verbs": ["get"]],
            asked: asked("get", "deployments", group: "apps", name: "b"), allows: false),
        Row(
            rule: ["nonResourceURLs": ["/mesh/*"], "verbs": ["get"]], asked: asked("get", path: "/mesh/x"), allows: true
        ),
        Row(
            rule: ["nonResourceURLs": ["/mesh/*"], "verbs": ["get"]], asked: asked("get", path: "/mesh"), allows: false),
        Row(
            rule: ["nonResourceURLs": ["/mesh"], "verbs": ["post"]], asked: asked("get", path: "/mesh"), allows: false),
        Row(
            rule: ["apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]], asked: asked("get", path: "/mesh"),
            allows: false),
    ]

    @Test("a rule", arguments: rows)
    func rule(_ row: Row) { #expect(RoleRule.allows(row.rule, row.asked) == row.allows) }
}
