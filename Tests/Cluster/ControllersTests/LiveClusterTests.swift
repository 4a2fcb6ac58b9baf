import Bytes
import ClusterClient

import JSON
import Reactor
import Store
import Testing

@testable import ClusterAPI
@testable import Controllers

private func deployment(_ name: String, replicas: Int64, image: String = "one", hold: Bool = false) -> KubeObject {
    var object = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "default", name: name)
    var labels: JSONValue = ["app": .string(name)]
    if hold { labels[Kubelet.hold] = "" }
    object.spec = [
        "replicas": .int(replicas), "selector": ["matchLabels": ["app": .string(name)]],
        "template": [
            "metadata": ["labels": labels],
            "spec": [
                "containers": [
                    ["name": "c", "image": .string(image), "ports": [["name": "http", "containerPort": 8080]]]
                ]
            ],
        ],
    ]
    return object
}

private func key(_ name: String, _ namespace: String = "default") -> ObjectKey {
    ObjectKey(namespace: namespace, name: name)
}

extension LiveCluster {
    fileprivate func rolledOut(_ name: String, replicas: Int64, image: String) async throws {
        try await eventually("\(name) is rolled out") {
            let object = try await client.get(.deployments, key(name))
            let images = Set(
                try await pods("app=\(name)").filter { !$0.isTerminating }.compactMap {
                    $0.spec["containers"]?[0]?["image"]?.string
                })
            let status = object.status
            let holds =
                status["observedGeneration"]?.int == object.generation && status["updatedReplicas"]?.int == replicas
                && status["replicas"]?.int == replicas && status["availableReplicas"]?.int == replicas
                && images == [image]
            return (holds, "\(status) \(images)")
        }
    }

    fileprivate func sets(of name: String) async throws -> [KubeObject] {
        try await client.list(.replicaSets, namespace: "default", Selection(labels: "app=\(name)")).items
    }

    fileprivate func isEmpty(_ resource: GroupVersionResource, _ labels: String) async throws -> (Bool, String) {
        let items = try await client.list(resource, namespace: "default", Selection(labels: labels)).items
        return (items.isEmpty, "\(items.map(\.name))")
    }
}

@Suite("Controllers on a real API server", .serialized)
struct LiveClusterTests {
    @Test("a Deployment rolls out, updates, rolls back, scales, and goes with all that it made")
    func deploymentLife() async throws {
        try await LiveCluster.run { cluster in
            let client = cluster.client
            try await client.create(.deployments, deployment("web", replicas: 3))
            try await cluster.rolledOut("web", replicas: 3, image: "one")
            let first = try #require(try await cluster.sets(of: "web").first)
            #expect(first.name.hasPrefix("web-"))
            #expect(first.annotation("deployment.kubernetes.io/revision") == "1")

            try await client.patch(
                .deployments, key("web"), .strategic,
                ["spec": ["template": ["spec": ["containers": [["name": "c", "image": "two"]]]]]])
            try await cluster.rolledOut("web", replicas: 3, image: "two")
            try await cluster.eventually("the revision is shown") {
                let revision = try await client.get(.deployments, key("web")).annotation(
                    "deployment.kubernetes.io/revision")
                return (revision == "2", "\(revision ?? "none")")
            }

            try await client.patch(
                .deployments, key("web"), .strategic,
                ["spec": ["template": ["spec": ["containers": [["name": "c", "image": "one"]]]]]])
            try await cluster.rolledOut("web", replicas: 3, image: "one")
            let again = try await client.get(.replicaSets, first.key)
            #expect(again.annotation("deployment.kubernetes.io/revision") == "3")
            #expect(again.annotation("deployment.kubernetes.io/revision-history") == "1")
            #expect(try await cluster.sets(of: "web").count == 2)

            try await client.patch(.deployments, key("web"), .merge, ["spec": ["replicas": 6]], subresource: "scale")
            try await cluster.rolledOut("web", replicas: 6, image: "one")
            try await client.patch(.deployments, key("web"), .merge, ["spec": ["replicas": 1]], subresource: "scale")
            try await cluster.rolledOut("web", replicas: 1, image: "one")
            let progressing = try await client.get(.deployments, key("web")).condition("Progressing")
            #expect(progressing?["reason"] == "NewReplicaSetAvailable")

            try await client.delete(.deployments, key("web"), propagation: .background)
            try await cluster.eventually("the sets are gone") { try await cluster.isEmpty(.replicaSets, "app=web") }
            try await cluster.eventually("the pods are gone") { try await cluster.isEmpty(.pods, "app=web") }
        }
    }

    @Test("nothing is written when nothing happens")
    func rest() async throws {
        try await LiveCluster.run { cluster in
            try await cluster.client.create(.deployments, deployment("web", replicas: 2))
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "web")
            service.spec = ["selector": ["app": "web"], "ports": [["port": 80, "targetPort": "http"]]]
            try await cluster.client.create(.services, service)
            try await cluster.addNode("n1")
            try await cluster.rolledOut("web", replicas: 2, image: "one")
            // Events are told a little later; when they are through, the revision stands still.
            var last = cluster.store.currentRevision
            var quiet = 0
            try await cluster.eventually("the revision stands still for a second") {
                let now = cluster.store.currentRevision
                quiet = now == last ? quiet + 1 : 0
                last = now
                return (quiet > 100, "revision \(now), quiet for \(quiet)")
            }
        }
    }

    @Test("a Service has slices and Endpoints that follow its pods")
    func endpoints() async throws {
        try await LiveCluster.run { cluster in
            let client = cluster.client
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "web")
            service.spec = ["selector": ["app": "web"], "ports": [["name": "http", "port": 80, "targetPort": "http"]]]
            try await client.create(.services, service)
            func slices() async throws -> [KubeObject] {
                try await client.list(
                    .endpointSlices, namespace: "default", Selection(labels: "kubernetes.io/service-name=web")
                ).items
            }
            func ready() async throws -> (Int, String) {
                let endpoints = try await slices().flatMap { $0.json["endpoints"]?.array ?? [] }
                return (endpoints.count { $0["conditions"]?["ready"] == true }, "\(endpoints)")
            }
            try await cluster.eventually("there is an empty slice") {
                let slices = try await slices()
                return (slices.count == 1, "\(slices.count)")
            }
            try await client.create(.deployments, deployment("web", replicas: 4))
            try await cluster.eventually("four endpoints are ready") {
                let (count, seen) = try await ready()
                return (count == 4, seen)
            }
            #expect(try await slices().first?.json["ports"]?[0]?["port"] == 8080)
            let victim = try #require(try await cluster.pods("app=web").first)
            try await client.patch(
                .pods, victim.key, .merge, ["status": ["conditions": [["type": "Ready", "status": "False"]]]],
                subresource: "status")
            try await cluster.eventually("one endpoint is not ready") {
                let (count, seen) = try await ready()
                return (count == 3, seen)
            }
            try await cluster.eventually("Endpoints say the same") {
                let subsets = try await client.find(.endpoints, key("web"))?.json["subsets"]
                let (ready, rest) = (subsets?[0]?["addresses"]?.array, subsets?[0]?["notReadyAddresses"]?.array)
                return (ready?.count == 3 && rest?.count == 1, "\(subsets ?? .null)")
            }
            try await client.delete(.services, key("web"))
            try await cluster.eventually("the slices went with the Service") {
                let slices = try await slices()
                return (slices.isEmpty, "\(slices.map(\.name))")
            }
        }
    }

    @Test("a ReplicaSet adopts pods that it selects and lets go those that it no longer does")
    func adoption() async throws {
        try await LiveCluster.run { cluster in
            let client = cluster.client
            var orphan = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "default", name: "orphan")
            orphan.labels = ["app": "web"]
            orphan.spec = ["containers": [["name": "c", "image": "one"]]]
            try await client.create(.pods, orphan)
            var set = deployment("web", replicas: 2)
            set.json["kind"] = "ReplicaSet"
            try await client.create(.replicaSets, set)
            try await cluster.eventually("the orphan is one of two") {
                let pods = try await cluster.pods("app=web")
                return (pods.count == 2 && pods.allSatisfy { $0.controller?.name == "web" }, "\(pods.map(\.name))")
            }
            try await client.patch(.pods, key("orphan"), .merge, ["metadata": ["labels": ["app": "debug"]]])
            try await cluster.eventually("another takes its place, and it is free") {
                let pods = try await cluster.pods("app=web")
                let freed = try await client.get(.pods, key("orphan"))
                return (pods.count == 2 && freed.controller == nil, "\(pods.map(\.name)) \(freed.ownerReferences)")
            }
        }
    }

    @Test("Orphan leaves dependents behind without owner, Foreground goes after them")
    func propagation() async throws {
        try await LiveCluster.run { cluster in
            let client = cluster.client
            try await client.create(.deployments, deployment("a", replicas: 1))
            try await client.create(.deployments, deployment("b", replicas: 1))
            try await cluster.rolledOut("a", replicas: 1, image: "one")
            try await cluster.rolledOut("b", replicas: 1, image: "one")
            try await client.delete(.deployments, key("a"), propagation: .orphan)
            try await cluster.eventually("a is gone and its set is free") {
                let owner = try await client.find(.deployments, key("a"))
                let set = try await cluster.sets(of: "a").first
                return (owner == nil && set != nil && set?.controller == nil, "\(owner?.finalizers ?? [])")
            }
            #expect(try await cluster.pods("app=a").count == 1)
            try await client.delete(.deployments, key("b"), propagation: .foreground)
            try await cluster.eventually("b is gone") {
                let owner = try await client.find(.deployments, key("b"))
                // As long as the owner is there, so may what it owns; never the other way round.
                if owner == nil {
                    #expect(try await cluster.sets(of: "b").isEmpty)
                    #expect(try await cluster.pods("app=b").isEmpty)
                }
                return (owner == nil, "\(owner?.finalizers ?? [])")
            }
        }
    }

    @Test("a namespace starts with an account and the authority, and goes with all that is in it")
    func namespaces() async throws {
        try await LiveCluster.run { cluster in
            let client = cluster.client
            try await client.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "shop"))
            try await cluster.eventually("the account and the authority are there") {
                let account = try await client.find(.serviceAccounts, key("default", "shop"))
                let map = try await client.find(.configMaps, key("kube-root-ca.crt", "shop"))
                return (account != nil && map?.json["data"]?["ca.crt"] != nil, "\(account != nil) \(map != nil)")
            }
            try await client.delete(.configMaps, key("kube-root-ca.crt", "shop"))
            try await cluster.eventually("the authority is back") {
                let map = try await client.find(.configMaps, key("kube-root-ca.crt", "shop"))
                return (map != nil, "")
            }
            var web = deployment("web", replicas: 3)
            web.namespace = "shop"
            try await client.create(.deployments, web)
            try await cluster.eventually("pods run") {
                let pods = try await cluster.pods(namespace: "shop")
                return (pods.count == 3, "\(pods.count)")
            }
            try await client.delete(.namespaces, ObjectKey(name: "shop"))
            try await cluster.eventually("the namespace is gone") {
                let namespace = try await client.find(.namespaces, ObjectKey(name: "shop"))
                return (namespace == nil, "\(namespace?.status ?? .null)")
            }
            for resource in [GroupVersionResource.pods, .deployments, .replicaSets, .configMaps, .serviceAccounts] {
                #expect(try await client.list(resource, namespace: "shop").items.isEmpty, "\(resource)")
            }
        }
    }

    @Test("nodes get blocks of their own; a silent one is tainted, its pods are not ready, and then they go")
    func nodes() async throws {
        try await LiveCluster.run { config in
            config.nodeMonitorGracePeriod = .milliseconds(600)
            config.nodeMonitorPeriod = .milliseconds(100)
        } _: { cluster in
            let client = cluster.client
            for name in ["n1", "n2", "n3"] { try await cluster.addNode(name) }
            try await cluster.eventually("every node has a block") {
                let blocks = try await client.list(.nodes).items.compactMap { $0.spec["podCIDR"]?.string }
                return (Set(blocks) == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"], "\(blocks)")
            }
            // Held back from the kubelet of these tests once it is bound, so that it is evicted only, not restarted.
            var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "default", name: "p")
            pod.spec = [
                "nodeName": "n1", "containers": [["name": "c", "image": "one"]],
                "tolerations": [
                    [
                        "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                        "tolerationSeconds": 2,
                    ],
                    [
                        "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                        "tolerationSeconds": 2,
                    ],
                ],
            ]
            try await client.create(.pods, pod)
            try await cluster.eventually("the node is known to be silent") {
                let node = try await client.get(.nodes, ObjectKey(name: "n1"))
                let taints = (node.spec["taints"]?.array ?? []).compactMap { $0["key"]?.string }
                return (
                    node.condition("Ready")?["status"] == "Unknown"
                        && taints.contains("node.kubernetes.io/unreachable"),
                    "\(node.status) \(taints)"
                )
            }
            try await cluster.eventually("its pod is gone") {
                let pod = try await client.find(.pods, key("p"))
                return (pod == nil, "\(pod?.status ?? .null)")
            }
        }
    }
}
