import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Store
import Testing

@testable import APIServer

private let maps = "/api/v1/namespaces/default/configmaps"
private let pods = "/api/v1/namespaces/default/pods"
private let services = "/api/v1/namespaces/default/services"
private let deployments = "/apis/apps/v1/namespaces/default/deployments"
private let merge = "application/merge-patch+json"

private func deployment(_ name: String) -> JSONValue {
    [
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": .string(name)],
        "spec": [
            "selector": ["matchLabels": ["app": "a"]],
            "template": [
                "metadata": ["labels": ["app": "a"]],
                "spec": ["containers": [["name": "c", "image": "weft.local/host"]]],
            ],
        ],
    ]
}

private func service(_ name: String, _ spec: JSONValue) -> JSONValue {
    ["apiVersion": "v1", "kind": "Service", "metadata": ["name": .string(name)], "spec": spec]
}

@Suite("creating, updating, patching")
struct WriteTests {
    @Test("a new object gets uid, time, revision and generation, and no status of the client's")
    func creating() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            var body = deployment("d")
            body["status"] = ["replicas": 7]
            let made = try await client.send("POST", deployments, body)
            #expect(made.status == 201)
            let metadata = made.json["metadata"]
            #expect(metadata?["uid"]?.string?.utf8.count == 36 && metadata?["generation"] == 1)
            #expect(metadata?["creationTimestamp"]?.string?.hasSuffix("Z") == true)
            #expect(made.json["status"]?["replicas"] == nil && made.json["spec"]?["replicas"] == 1)
            let again = try await client.send("POST", deployments, body)
            #expect(again.status == 409 && again.reason == "AlreadyExists")
            #expect(again.message == "deployments.apps \"d\" already exists")
        }
    }

    @Test("a write that changes nothing keeps the revision; generation counts changes of the spec alone")
    func noOp() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let made = try await client.send("POST", deployments, deployment("d"))
            let same = try await client.send("PUT", deployments + "/d", made.json)
            #expect(same.status == 200 && same.revision == made.revision)
            let labelled = try await client.send(
                "PATCH", deployments + "/d", ["metadata": ["labels": ["a": "b"]]], type: merge)
            #expect(labelled.revision != made.revision && labelled.json["metadata"]?["generation"] == 1)
            let scaled = try await client.send("PATCH", deployments + "/d", ["spec": ["replicas": 3]], type: merge)
            #expect(scaled.json["metadata"]?["generation"] == 2)
            let status = try await client.send(
                "PATCH", deployments + "/d/status", ["status": ["replicas": 3], "spec": ["replicas": 9]], type: merge)
            #expect(status.json["status"]?["replicas"] == 3 && status.json["spec"]?["replicas"] == 3)
            #expect(status.json["metadata"]?["generation"] == 2)
            let main = try await client.send("PATCH", deployments + "/d", ["status": ["replicas": 8]], type: merge)
            #expect(main.json["status"]?["replicas"] == 3 && main.revision == status.revision)
        }
    }

    @Test(
        "kinds that come as CustomResourceDefinitions elsewhere have a generation and a status of their own here too",
        arguments: [
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", ["hostnames": ["a.example"]]),
            ("gateway.networking.k8s.io/v1", "TLSRoute", "tlsroutes", ["hostnames": ["a.example"]]),
            ("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes", ["hostnames": ["a.example"]]),
            ("security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", ["action": "AUDIT"]),
        ] as [(String, String, String, JSONValue)])
    func generations(group: String, kind: String, resource: String, change: JSONValue) async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let path = "/apis/\(group)/namespaces/default/\(resource)"
            var spec: JSONObject = ["hostnames": ["b.example"]]
            if kind == "TLSRoute" { spec["rules"] = [["backendRefs": [["name": "b", "port": 443]]]] }
            if kind == "AuthorizationPolicy" { spec = ["rules": [["to": [["operation": ["methods": ["GET"]]]]]]] }
            let body: JSONValue = [
                "apiVersion": .string(group), "kind": .string(kind), "metadata": ["name": "one"],
                "spec": .object(spec), "status": ["conditions": []],
            ]
            let made = try await client.send("POST", path, body)
            #expect(made.json["metadata"]?["generation"] == 1, "\(made.json)")
            #expect(made.json["status"] == nil)
            let changed = try await client.send(
                "PATCH", path + "/one", ["spec": change], type: merge)
            #expect(changed.json["metadata"]?["generation"] == 2, "\(changed.json)")
            let labelled = try await client.send(
                "PATCH", path + "/one", ["metadata": ["labels": ["a": "b"]], "status": ["parents": []]], type: merge)
            #expect(labelled.json["metadata"]?["generation"] == 2 && labelled.json["status"] == nil)
        }
    }

    @Test("an Ingress without a class gets the default one when it is made, and keeps what it has")
    func defaultIngressClass() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
            func ingress(_ name: String, annotations: JSONObject = [:], className: JSONValue? = nil) async throws
                -> JSONValue?
            {
                var spec: JSONValue = ["defaultBackend": ["service": ["name": "s", "port": ["number": 80]]]]
                spec["ingressClassName"] = className
                let made = try await client.send(
                    "POST", path,
                    [
                        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                        "metadata": ["name": .string(name), "annotations": .object(annotations)], "spec": spec,
                    ])
                #expect(made.status == 201, "\(made.json)")
                return made.json["spec"]?["ingressClassName"]
            }
            #expect(try await ingress("early") == nil)
            for (name, mark) in [("b", "true"), ("a", "true"), ("c", "false")] {
                let made = try await client.send(
                    "POST", "/apis/networking.k8s.io/v1/ingressclasses",
                    [
                        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
                        "metadata": [
                            "name": .string(name),
                            "annotations": ["ingressclass.kubernetes.io/is-default-class": .string(mark)],
                        ],
                        "spec": ["controller": "x.org/y"],
                    ])
                #expect(made.status == 201)
            }
            // The newest, or of one second the first by name: both are this one.
            #expect(try await ingress("late") == "a")
            #expect(try await ingress("own", className: "c") == "c")
            #expect(try await ingress("older", annotations: ["kubernetes.io/ingress.class": "c"]) == nil)
        }
    }

    @Test("a PUT over another version is a conflict, one over another uid too")
    func conflicts() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let made = try await client.send("POST", maps, configMap("a"))
            var body = made.json
            body["data"] = ["x": "1"]
            #expect(try await client.send("PUT", maps + "/a", body).status == 200)
            let stale = try await client.send("PUT", maps + "/a", body)
            #expect(stale.status == 409 && stale.reason == "Conflict")
            body["metadata"]?["resourceVersion"] = nil
            body["metadata"]?["uid"] = "other"
            #expect(try await client.send("PUT", maps + "/a", body).status == 409)
            body["metadata"]?["uid"] = nil
            body["data"] = ["x": "2"]
            #expect(try await client.send("PUT", maps + "/a", body).status == 200)
            #expect(try await client.send("PUT", maps + "/none", configMap("none")).status == 404)
            #expect(try await client.send("PUT", maps + "/b", configMap("a")).status == 400)
        }
    }

    @Test("concurrent patches without a revision all happen")
    func concurrentPatches() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            _ = try await client.send("POST", maps, configMap("a"))
            try await withThrowingTaskGroup(of: Int.self) { tasks in
                for n in 0..<8 {
                    tasks.addTask {
                        try await client.send("PATCH", maps + "/a", ["data": ["k\(n)": "v"]], type: merge).status
                    }
                }
                for try await status in tasks { #expect(status == 200) }
            }
            #expect(try await client.get(maps + "/a").json["data"]?.object?.count == 8)
        }
    }

    @Test("names are generated from a prefix, and taken ones drawn again")
    func generatedNames() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            var body = configMap("x")
            body["metadata"] = ["generateName": "gen-"]
            var names = Set<String>()
            for _ in 0..<20 {
                let made = try await client.send("POST", maps, body)
                names.insert(made.json["metadata"]?["name"]?.string ?? "")
            }
            #expect(names.count == 20 && names.allSatisfy { $0.hasPrefix("gen-") && $0.utf8.count == 9 })
            body["metadata"] = [:]
            let nameless = try await client.send("POST", maps, body)
            #expect(nameless.status == 422 && nameless.message.contains("name or generateName is required"))
        }
    }

    @Test("each patch format does what it is for")
    func patches() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            _ = try await client.send("POST", deployments, deployment("d"))
            let json = try await client.send(
                "PATCH", deployments + "/d", [["op": "replace", "path": "/spec/replicas", "value": 2]],
                type: "application/json-patch+json")
            #expect(json.json["spec"]?["replicas"] == 2)
            let strategic = try await client.send(
                "PATCH", deployments + "/d",
                ["spec": ["template": ["spec": ["containers": [["name": "side", "image": "weft.local/host"]]]]]],
                type: "application/strategic-merge-patch+json")
            #expect(strategic.json["spec"]?["template"]?["spec"]?["containers"]?.array?.count == 2)
            let failed = try await client.send(
                "PATCH", deployments + "/d", [["op": "test", "path": "/spec/replicas", "value": 99]],
                type: "application/json-patch+json")
            #expect(failed.status == 422)
            let apply = try await client.send(
                "PATCH", deployments + "/d", ["spec": [:]], type: "application/apply-patch+yaml")
            #expect(apply.status == 415 && apply.reason == "UnsupportedMediaType")
            #expect(try await client.send("PATCH", deployments + "/d", [:], type: "application/json").status == 415)
        }
    }

    @Test("unknown and repeated fields are refused, warned of or dropped, as asked")
    func fieldValidation() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let text = #"{"metadata":{"name":"a"},"data":{"k":"v"},"bogus":1,"data":{"k":"w"}}"#
            func post(_ query: String) async throws -> TestClient.Answer {
                try await client.send("POST", maps + query, bytes: Array(text.utf8), type: "application/json")
            }
            let strict = try await post("?fieldValidation=Strict")
            #expect(
                strict.status == 400 && strict.message.contains("unknown field \"bogus\"")
                    && strict.message.contains("duplicate field"))
            let warned = try await post("?fieldValidation=Warn&dryRun=All")
            #expect(warned.status == 201 && warned.headers.values("warning").count == 2)
            #expect(warned.headers.values("warning").contains { $0 == #"299 - "unknown field \"bogus\"""# })
            let ignored = try await post("?fieldValidation=Ignore")
            #expect(ignored.status == 201 && ignored.headers["warning"] == nil && ignored.json["bogus"] == nil)
            // What is stored and does not hold is said, too.
            let path = "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies"
            let spec: JSONValue = [
                "targetRefs": [["group": "networking.istio.io", "kind": "ServiceEntry", "name": "x"]]
            ]
            let policy = try await client.send("POST", path, ["metadata": ["name": "p"], "spec": spec])
            #expect(policy.status == 201)
            #expect(policy.headers["warning"]?.contains("the policy is stored and not enforced") == true)
            let patched = try await client.send(
                "PATCH", path + "/p", ["spec": ["targetRefs": .null]],
                type: "application/merge-patch+json")
            #expect(patched.status == 200 && patched.headers["warning"] == nil)
            #expect(try await post("?fieldValidation=Other").status == 422)
        }
    }

    @Test("a dry run says what would be and leaves everything as it is")
    func dryRun() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let before = server.store.currentRevision
            #expect(try await client.send("POST", maps + "?dryRun=All", configMap("a")).status == 201)
            let dry = try await client.send("POST", services + "?dryRun=All", service("s", ["ports": [["port": 80]]]))
            #expect(dry.json["spec"]?["clusterIP"]?.string?.hasPrefix("10.96.0.") == true)
            #expect(server.store.currentRevision == before)
            _ = try await client.send("POST", maps, configMap("a"))
            #expect(try await client.send("POST", maps + "?dryRun=All", configMap("a")).status == 409)
            #expect(try await client.send("DELETE", maps + "/a?dryRun=All").status == 200)
            #expect(
                try await client.send("PATCH", maps + "/a?dryRun=All", ["data": ["x": "y"]], type: merge).json["data"]
                    == ["x": "y"])
            #expect(try await client.get(maps + "/a").json["data"]?["x"] == nil)
            #expect(try await client.send("POST", maps + "?dryRun=Some", configMap("b")).status == 422)
        }
    }

    @Test("protobuf and YAML bodies make the same object as JSON")
    func bodies() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let binary = try ProtobufCodec.shared.encode(configMap("p", ["k": "v"]))
            let made = try await client.send("POST", maps, bytes: binary, type: "application/vnd.kubernetes.protobuf")
            #expect(made.status == 201 && made.json["data"] == ["k": "v"])
            let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: v\n"
            let other = try await client.send("POST", maps, bytes: Array(yaml.utf8), type: "application/yaml")
            #expect(other.status == 201 && other.json["data"] == ["k": "v"])
        }
    }

    @Test("an event is kept for an hour after it last happened")
    func eventExpiry() async throws {
        let folder = try TestServer.makeFolder()
        let store = try SQLiteStore(path: folder + "/store.db")
        defer {
            store.close()
            try? Files.removeTree(folder)
        }
        let registry = Registry(
            schema: .shared, storage: ObjectStorage(store: store), admission: AdmissionChain(plugins: []),
            services: ServiceAllocator(ranges: [CIDR("10.96.0.0/24")!], nodePorts: 1...2))
        let events = Schema.shared.resource(.events)!
        for (name, last) in [("a", "2026-01-01T10:00:00Z"), ("b", "2026-01-01T11:30:00Z")] {
            var call = APICall(user: .server, verb: .create, resource: events)
            call.namespace = "default"
            _ = try await registry.create(
                [
                    "metadata": [
                        "name": .string(name), "namespace": "default", "creationTimestamp": "2026-01-01T09:00:00Z",
                    ],
                    "involvedObject": ["kind": "Pod", "name": "p", "namespace": "default"],
                    "lastTimestamp": .string(last),
                ], call)
        }
        // Made by this test just now, which counts as having happened.
        try await registry.expireEvents(before: Timestamp(rfc3339: "2026-01-01T11:00:00Z")!)
        #expect(try await registry.storage.all(events).count == 2)
        try await registry.expireEvents(before: Timestamp.now().adding(.seconds(60)))
        #expect(try await registry.storage.all(events).isEmpty)
    }

    @Test("core events and events.k8s.io are two faces of the same objects")
    func events() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let made = try await client.send(
                "POST", "/api/v1/namespaces/default/events",
                [
                    "metadata": ["name": "e"], "involvedObject": ["kind": "Pod", "name": "p", "namespace": "default"],
                    "reason": "Why", "message": "text", "type": "Normal",
                ])
            #expect(made.status == 201, "\(made.message)")
            let other = try await client.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
            #expect(other.json["note"] == "text" && other.json["regarding"]?["name"] == "p")
            #expect(other.json["apiVersion"] == "events.k8s.io/v1" && other.json["message"] == nil)
            let selected = try await client.get("/api/v1/events?fieldSelector=involvedObject.name%3Dp")
            #expect(selected.names == ["e"])
        }
    }
}

@Suite("deleting")
struct DeleteTests {
    @Test("an object with finalizers dies when the last is gone, and takes no new ones meanwhile")
    func finalizers() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            var body = configMap("a")
            body["metadata"]?["finalizers"] = ["example.com/hold"]
            _ = try await client.send("POST", maps, body)
            let dying = try await client.send("DELETE", maps + "/a")
            #expect(dying.status == 200 && dying.json["metadata"]?["deletionTimestamp"] != nil)
            #expect(try await client.get(maps + "/a").status == 200)
            let more = try await client.send(
                "PATCH", maps + "/a", ["metadata": ["finalizers": ["example.com/hold", "example.com/new"]]], type: merge
            )
            #expect(more.status == 422)
            let last = try await client.send("PATCH", maps + "/a", ["metadata": ["finalizers": .null]], type: merge)
            #expect(last.status == 200)
            #expect(try await client.get(maps + "/a").status == 404)
        }
    }

    @Test("preconditions hold or the delete is a conflict; what is gone is reported with its uid")
    func preconditions() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let made = try await client.send("POST", maps, configMap("a"))
            func delete(_ preconditions: JSONValue) async throws -> TestClient.Answer {
                try await client.send(
                    "DELETE", maps + "/a",
                    ["kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions])
            }
            #expect(try await delete(["uid": "other"]).status == 409)
            #expect(try await delete(["resourceVersion": "1"]).status == 409)
            let gone = try await delete(["uid": made.json["metadata"]?["uid"] ?? ""])
            #expect(gone.status == 200 && gone.json["status"] == "Success")
            #expect(gone.json["details"]?["uid"] == made.json["metadata"]?["uid"])
            #expect(try await delete([:]).status == 404)
        }
    }

    @Test("how dependents are treated is written down as a finalizer")
    func propagation() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
                _ = try await client.send("POST", maps, configMap("a"))
                let answer = try await client.send("DELETE", maps + "/a?propagationPolicy=\(policy)")
                #expect(answer.json["metadata"]?["finalizers"] == [.string(finalizer)])
                _ = try await client.send("PATCH", maps + "/a", ["metadata": ["finalizers": .null]], type: merge)
            }
            #expect(try await client.send("DELETE", maps + "/a?propagationPolicy=Sideways").status == 422)
        }
    }

    @Test("a pod on a node is given its time, which a later delete can only shorten")
    func gracefulPods() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            _ = try await client.send("POST", pods, pod("free"))
            let free = try await client.send("DELETE", pods + "/free")
            #expect(free.status == 200 && free.json["kind"] == "Pod")
            #expect(try await client.get(pods + "/free").status == 404)

            _ = try await client.send("POST", pods, pod("bound"))
            let binding: JSONValue = ["metadata": ["name": "bound"], "target": ["kind": "Node", "name": "n1"]]
            #expect(try await client.send("POST", pods + "/bound/binding", binding).status == 201)
            #expect(try await client.send("POST", pods + "/bound/binding", binding).status == 409)
            let bound = try await client.get(pods + "/bound")
            #expect(bound.json["spec"]?["nodeName"] == "n1")
            #expect(bound.json["status"]?["conditions"]?[0]?["type"] == "PodScheduled")
            let dying = try await client.send("DELETE", pods + "/bound")
            #expect(dying.json["metadata"]?["deletionGracePeriodSeconds"] == 30)
            let longer = try await client.send("DELETE", pods + "/bound?gracePeriodSeconds=60")
            #expect(longer.json["metadata"]?["deletionGracePeriodSeconds"] == 30)
            let shorter = try await client.send("DELETE", pods + "/bound?gracePeriodSeconds=5")
            #expect(shorter.json["metadata"]?["deletionGracePeriodSeconds"] == 5)
            #expect(try await client.send("DELETE", pods + "/bound?gracePeriodSeconds=0").status == 200)
            #expect(try await client.get(pods + "/bound").status == 404)
        }
    }

    @Test("a collection is deleted by the same selectors that list it")
    func collections() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            for n in 0..<6 {
                try await server.make(.configMaps, configMap("m\(n)", labels: ["n": .string("\(n % 2)")]))
            }
            #expect(try await client.send("DELETE", maps + "?labelSelector=n%3D1").status == 200)
            #expect(try await client.get(maps).names == ["m0", "m2", "m4"])
        }
    }

    @Test("a namespace ends when its finalizers do, and takes nothing new meanwhile")
    func namespaces() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let made = try await client.send("POST", "/api/v1/namespaces", ["metadata": ["name": "shop"]])
            #expect(made.json["metadata"]?["labels"]?["kubernetes.io/metadata.name"] == "shop")
            #expect(made.json["status"]?["phase"] == "Active" && made.json["spec"]?["finalizers"] == ["kubernetes"])
            let inside = "/api/v1/namespaces/shop/configmaps"
            #expect(try await client.send("POST", inside, ["metadata": ["name": "a"]]).status == 201)
            let dying = try await client.send("DELETE", "/api/v1/namespaces/shop")
            #expect(dying.json["status"]?["phase"] == "Terminating")
            let refused = try await client.send("POST", inside, ["metadata": ["name": "b"]])
            #expect(
                refused.status == 403 && refused.json["details"]?["causes"]?[0]?["reason"] == "NamespaceTerminating")
            var body = dying.json
            body["spec"] = ["finalizers": []]
            #expect(try await client.send("PUT", "/api/v1/namespaces/shop/finalize", body).status == 200)
            #expect(try await client.get("/api/v1/namespaces/shop").status == 404)
            #expect(try await client.send("POST", inside, ["metadata": ["name": "c"]]).status == 404)
            #expect(try await client.send("DELETE", "/api/v1/namespaces/default").status == 403)
        }
    }
}

@Suite("services' addresses and ports")
struct AllocationTests {
    @Test("each service gets an address and ports of its own, and gives them back")
    func allocation() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            var addresses = Set<String>(), ports = Set<Int64>()
            for n in 0..<11 {
                let made = try await client.send(
                    "POST", services, service("s\(n)", ["type": "NodePort", "ports": [["port": 80]]]))
                #expect(made.status == 201, "\(made.message)")
                addresses.insert(made.json["spec"]?["clusterIP"]?.string ?? "")
                ports.insert(made.json["spec"]?["ports"]?[0]?["nodePort"]?.int ?? 0)
            }
            #expect(addresses.count == 11 && ports == Set(30_000...30_010))
            let full = try await client.send(
                "POST", services, service("full", ["type": "NodePort", "ports": [["port": 80]]]))
            #expect(full.status == 500 && full.message.contains("range is full"))
            _ = try await client.send("DELETE", services + "/s3")
            #expect(
                try await client.send("POST", services, service("next", ["type": "NodePort", "ports": [["port": 80]]]))
                    .status == 201)
            let plain = try await client.send("PATCH", services + "/s4", ["spec": ["type": "ClusterIP"]], type: merge)
            #expect(plain.status == 200 && plain.json["spec"]?["ports"]?[0]?["nodePort"] == nil, "\(plain.message)")
            #expect(
                try await client.send("POST", services, service("more", ["type": "NodePort", "ports": [["port": 80]]]))
                    .status == 201)
        }
    }

    @Test("a wish is fulfilled, or refused when it is taken, outside or nonsense")
    func wishes() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            func make(_ name: String, _ spec: JSONValue) async throws -> TestClient.Answer {
                try await client.send("POST", services, service(name, spec))
            }
            let port: JSONValue = [["port": 80]]
            #expect(
                try await make("a", ["clusterIP": "10.96.0.10", "ports": port]).json["spec"]?["clusterIPs"] == [
                    "10.96.0.10"
                ])
            #expect(try await make("b", ["clusterIP": "10.96.0.10", "ports": port]).status == 422)
            #expect(try await make("b", ["clusterIP": "10.97.0.10", "ports": port]).status == 422)
            #expect(try await make("b", ["clusterIP": "banana", "ports": port]).status == 422)
            #expect(
                try await make("b", ["type": "NodePort", "ports": [["port": 80, "nodePort": 8080]]]).status == 422)
            #expect(
                try await make("c", ["clusterIP": "None", "selector": ["a": "b"], "ports": port]).json["spec"]?[
                    "clusterIP"] == "None")
            let dual = try await make("d", ["ipFamilyPolicy": "PreferDualStack", "ports": port])
            #expect(
                dual.json["spec"]?["ipFamilies"] == ["IPv4", "IPv6"]
                    && dual.json["spec"]?["clusterIPs"]?.array?.count == 2)
            let external = try await make("e", ["type": "ExternalName", "externalName": "example.com"])
            #expect(external.status == 201 && external.json["spec"]?["clusterIP"] == nil)
            let moved = try await client.send(
                "PATCH", services + "/a", ["spec": ["clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"]]],
                type: merge)
            #expect(moved.status == 422)
        }
    }

    @Test("after a restart nothing is given twice")
    func restart() async throws {
        let first = try await TestServer.start()
        for n in 0..<11 {
            try await first.make(
                .services,
                [
                    "metadata": ["name": .string("s\(n)"), "namespace": "default"],
                    "spec": ["type": "NodePort", "ports": [["port": 80]]],
                ])
        }
        await first.stop(keepingFolder: true)
        let second = try await TestServer.start(folder: first.folder, authority: first.authority)
        let client = try second.client()
        let made = try await client.send(
            "POST", services, service("late", ["type": "NodePort", "ports": [["port": 80]]]))
        #expect(made.status == 500)
        let all = try await client.get(services)
        #expect(Set(all.items.compactMap { $0["spec"]?["clusterIP"]?.string }).count == all.items.count)
        await second.stop()
    }
}
