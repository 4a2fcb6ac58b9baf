import Bytes
import ClusterAPI
import ClusterClient
import HTTP
import JSON
import Reactor
import TLS
import Testing

@testable import APIServer

private let pods = "/api/v1/namespaces/default/pods"

@Suite("subresources, identities and questions")
struct SubresourceTests {
    @Test("scale shows and turns the replicas of a workload")
    func scale() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let path = "/apis/apps/v1/namespaces/default/deployments"
            _ = try await client.send(
                "POST", path,
                [
                    "metadata": ["name": "d"],
                    "spec": [
                        "replicas": 2, "selector": ["matchLabels": ["app": "a"]],
                        "template": [
                            "metadata": ["labels": ["app": "a"]],
                            "spec": ["containers": [["name": "c", "image": "weft.local/host"]]],
                        ],
                    ],
                ])
            let scale = try await client.get(path + "/d/scale")
            #expect(scale.json["kind"] == "Scale" && scale.json["spec"]?["replicas"] == 2)
            #expect(scale.json["status"]?["selector"] == "app=a")
            var body = scale.json
            body["spec"] = ["replicas": 5]
            #expect(try await client.send("PUT", path + "/d/scale", body).json["spec"]?["replicas"] == 5)
            #expect(try await client.send("PUT", path + "/d/scale", body).status == 409)
            let patched = try await client.send(
                "PATCH", path + "/d/scale", ["spec": ["replicas": 0]], type: "application/merge-patch+json")
            #expect(patched.status == 200)
            #expect(try await client.get(path + "/d").json["spec"]?["replicas"] == 0)
            body["spec"] = ["replicas": -1]
            body["metadata"]?["resourceVersion"] = nil
            #expect(try await client.send("PUT", path + "/d/scale", body).status == 422)
        }
    }

    @Test("an eviction is a delete that a disruption budget can forbid")
    func eviction() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            _ = try await client.send("POST", pods, pod("p", labels: ["app": "a"]))
            _ = try await client.send(
                "PATCH", pods + "/p/status", ["status": ["phase": "Running"]], type: "application/merge-patch+json")
            let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
            let made = try await client.send(
                "POST", budgets,
                ["metadata": ["name": "b"], "spec": ["minAvailable": 1, "selector": ["matchLabels": ["app": "a"]]]])
            #expect(made.status == 201, "\(made.message)")
            let eviction: JSONValue = ["apiVersion": "policy/v1", "kind": "Eviction", "metadata": ["name": "p"]]
            let refused = try await client.send("POST", pods + "/p/eviction", eviction)
            #expect(refused.status == 429 && refused.json["details"]?["causes"]?[0]?["reason"] == "DisruptionBudget")
            _ = try await client.send("DELETE", budgets + "/b")
            #expect(try await client.send("POST", pods + "/p/eviction", eviction).status == 201)
            #expect(try await client.get(pods + "/p").status == 404)
        }
    }

    @Test("a service account's token opens the door, until the account is gone")
    func tokens() async throws {
        try await TestServer.with(tokens: "secret,robot,7,\"system:masters\"\n") { server in
            let admin = try server.client()
            let nobody = try server.client(as: nil)
            let accounts = "/api/v1/namespaces/default/serviceaccounts"
            _ = try await admin.send("POST", accounts, ["metadata": ["name": "bot"]])
            let request: JSONValue = [
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": ["expirationSeconds": 600],
            ]
            let issued = try await admin.send("POST", accounts + "/bot/token", request)
            #expect(issued.status == 201, "\(issued.message)")
            let token = issued.json["status"]?["token"]?.string ?? ""
            let stranger = try await nobody.send("GET", "/api/v1/pods", token: token)
            #expect(stranger.status == 403 && stranger.message.contains("\"system:serviceaccount:default:bot\""))
            _ = try await admin.send("POST", DefaultRoleTests.bindings, DefaultRoleTests.binding(of: "view", to: "bot"))
            #expect(try await nobody.send("GET", "/api/v1/namespaces/default/pods", token: token).status == 200)
            #expect(try await nobody.send("GET", "/api/v1/pods", token: token + "x").status == 401)
            #expect(try await nobody.send("GET", "/api/v1/pods", token: "secret").status == 200)
            #expect(try await nobody.send("GET", "/api/v1/pods", token: "wrong").status == 401)
            let review = try await admin.send(
                "POST", "/apis/authentication.k8s.io/v1/tokenreviews", ["spec": ["token": .string(token)]])
            #expect(review.json["status"]?["user"]?["username"] == "system:serviceaccount:default:bot")
            let whoami = try await nobody.send(
                "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", [:], token: token)
            #expect(
                whoami.json["status"]?["userInfo"]?["groups"]?.array?.contains("system:serviceaccounts:default") == true
            )
            let elsewhere = try await admin.send(
                "POST", accounts + "/bot/token", ["spec": ["audiences": ["vault"]]])
            let foreign = elsewhere.json["status"]?["token"]?.string ?? ""
            #expect(try await nobody.send("GET", "/api/v1/pods", token: foreign).status == 401)
            #expect(
                try await admin.send("POST", accounts + "/bot/token", ["spec": ["expirationSeconds": 5]]).status == 422)
            _ = try await admin.send("DELETE", accounts + "/bot")
            #expect(try await nobody.send("GET", "/api/v1/namespaces/default/pods", token: token).status == 401)
            let keys = try await nobody.get("/openid/v1/jwks")
            #expect(keys.json["keys"]?[0]?["alg"] == "ES256")
            let discovery = try await nobody.get("/.well-known/openid-configuration")
            #expect(discovery.json["issuer"] == "https://kubernetes.default.svc.cluster.local")
        }
    }

    @Test(
        "who somebody is decides what they may",
        arguments: [
            (nil as String?, [] as [String], "/api/v1/pods", 401), (nil, [], "/version", 200),
            (nil, [], "/healthz", 200),
            (nil, [], "/apis", 200), (nil, [], "/metrics", 403), ("someone", [], "/api/v1/pods", 403),
            ("someone", [], "/apis/apps/v1", 200), ("system:node:n1", ["system:nodes"], "/api/v1/pods", 200),
            ("system:kube-scheduler", [], "/api/v1/pods", 200), ("root", ["system:masters"], "/metrics", 200),
        ])
    func access(user: String?, groups: [String], path: String, status: Int) async throws {
        try await TestServer.with { server in
            let answer = try await server.client(as: user, groups: groups).get(path)
            #expect(answer.status == status, "\(answer.message)")
            if status == 403, path.hasPrefix("/api/") {
                #expect(
                    answer.message
                        == #"pods is forbidden: User "someone" cannot list resource "pods" in API group "" at the cluster scope"#
                )
            }
        }
    }

    @Test("a pod gets its account's token volume, tolerations and priority")
    func admission() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let refused = try await client.send("POST", pods, pod("early").merging("serviceAccountName", "none"))
            #expect(refused.status == 403 && refused.message.contains("serviceaccount \"none\" not found"))
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            let made = try await client.send(
                "POST", pods, pod("p").merging("priorityClassName", "system-node-critical"))
            #expect(made.status == 201, "\(made.message)")
            let spec = made.json["spec"]
            #expect(spec?["serviceAccountName"] == "default" && spec?["priority"] == 2_000_001_000)
            #expect(spec?["tolerations"]?.array?.count == 2)
            let sources = spec?["volumes"]?[0]?["projected"]?["sources"]
            #expect(sources?[0]?["serviceAccountToken"]?["expirationSeconds"] == 3607)
            #expect(
                spec?["containers"]?[0]?["volumeMounts"]?[0]?["mountPath"]
                    == "/var/run/secrets/kubernetes.io/serviceaccount")
            #expect(made.json["status"] == ["phase": "Pending", "qosClass": "BestEffort"])
            let unknown = try await client.send("POST", pods, pod("q").merging("priorityClassName", "nope"))
            #expect(unknown.status == 403)
        }
    }

    @Test("logs come from the agent of the pod's node, to which this server shows its certificate")
    func logs() async throws {
        try await TestServer.with(nodeAgents: true) { server in
            let client = try server.client()
            let agentTLS = try TLSContext(
                serving: [
                    try server.authority.issue(
                        CertificateTemplate(
                            subject: DistinguishedName(commonName: "node"),
                            names: AlternativeNames(addresses: [.loopbackV4]), purpose: .server))
                ], clientCertificates: .required, trust: TrustPool([server.authority.certificate]))
            let agent = HTTPServer(
                group: server.group, address: .ip(.loopbackV4, 0, scope: 0), tls: agentTLS,
                handler: HTTPClosureHandler { request, response in
                    let user = request.tls?.chain.first?.subject.commonName ?? ""
                    await response.send(status: 200, text: "\(request.target) for \(user)\n")
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
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            _ = try await client.send("POST", pods, pod("p"))
            #expect(try await client.get(pods + "/p/log").status == 400)
            _ = try await client.send("POST", pods + "/p/binding", ["target": ["kind": "Node", "name": "n1"]])
            let log = try await client.get(pods + "/p/log?tailLines=5&pretty=1")
            #expect(
                String(decoding: log.body, as: UTF8.self)
                    == "/containerLogs/default/p/c?tailLines=5 for kubelet-client\n")
            #expect(try await client.get(pods + "/p/log?container=none").status == 400)
            await agent.drain(deadline: .seconds(1))
        }
    }

    @Test("readiness, versions and metrics are told")
    func documents() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            #expect(try await client.get("/version").json["minor"] == "36")
            #expect(
                String(decoding: try await client.get("/readyz?verbose").body, as: UTF8.self).contains("[+]store ok"))
            #expect(try await client.get("/livez/ping").status == 200)
            #expect(try await client.get("/livez/none").status == 404)
            _ = try await client.get("/api/v1/nodes")
            let metrics = String(decoding: try await client.get("/metrics").body, as: UTF8.self)
            #expect(metrics.contains(#"apiserver_request_total{verb="LIST",resource="nodes",code="200"} 1"#))
            #expect(metrics.contains("weft_store_revision"))
            let aggregated = try await client.get(
                "/apis", accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
            #expect(aggregated.json["kind"] == "APIGroupDiscoveryList")
            let again = try await client.http.request(
                "GET", "/apis",
                headers: [
                    "if-none-match": aggregated.headers["etag"] ?? "",
                    "accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                ])
            #expect(again.status == 304)
            let root = try await client.get("/openapi/v3")
            let link = root.json["paths"]?["apis/apps/v1"]?["serverRelativeURL"]?.string ?? ""
            #expect(try await client.get(link).status == 200)
            #expect(try await client.get("/openapi/v3/apis/apps/v1?hash=old").status == 301)
            #expect(
                try await client.get(
                    "/openapi/v2", accept: "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
                ).status == 200)
        }
    }
}

extension JSONValue {
    fileprivate func merging(_ field: String, _ value: JSONValue) -> JSONValue {
        var copy = self
        copy["spec"]?[field] = value
        return copy
    }
}
