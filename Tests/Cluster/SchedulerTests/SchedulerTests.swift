import ClusterAPI
import JSON
import Testing

@testable import Scheduler

@Suite struct PlacementTests {
    static func node(_ name: String, _ change: (inout KubeObject) -> Void = { _ in }) -> NodeState {
        var object = KubeObject(apiVersion: "v1", kind: "Node", name: name)
        object.labels = ["kubernetes.io/hostname": name]
        object.status = ["allocatable": ["cpu": "2", "memory": "4Gi", "pods": "110"]]
        change(&object)
        return NodeState(object)
    }

    static func pod(
        _ name: String, _ spec: JSONValue = ["containers": [["name": "c"]]], labels: [String: String] = [:],
        owner: String? = nil
    ) -> PodDemand {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "n", name: name)
        object.json["metadata"]?["uid"] = .string(name)
        object.labels = labels
        object.spec = spec
        if let owner {
            object.json["metadata"]?["ownerReferences"] = [
                ["apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": .string(owner), "controller": true]
            ]
        }
        return PodDemand(object)
    }

    static func requests(_ cpu: String, _ memory: String) -> JSONValue {
        ["containers": [["name": "c", "resources": ["requests": ["cpu": .string(cpu), "memory": .string(memory)]]]]]
    }

    func place(_ pod: PodDemand, _ nodes: [NodeState]) -> Placement {
        var random = SystemRandomNumberGenerator()
        return Placement(pod, nodes, using: &random)
    }

    @Test("without nodes there is nowhere to go") func noNodes() {
        #expect(place(Self.pod("p"), []) == .none(message: "no nodes available to schedule pods"))
    }

    @Test("reasons are counted and sorted as upstream words them") func reasons() {
        let full = Self.node("a") { $0.status = ["allocatable": ["cpu": "1", "memory": "1Gi", "pods": "110"]] }
        let tainted = Self.node("b") { $0.spec = ["taints": [["key": "k", "value": "v", "effect": "NoSchedule"]]] }
        let outcome = place(
            Self.pod("p", Self.requests("1500m", "1Mi")),
            [full, tainted, Self.node("c") { $0.spec = ["unschedulable": true] }])
        #expect(
            outcome
                == .none(
                    message:
                        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable."
                ))
    }

    @Test("a toleration opens a tainted node") func tolerated() {
        let tainted = Self.node("b") { $0.spec = ["taints": [["key": "k", "value": "v", "effect": "NoExecute"]]] }
        for toleration in [
            ["operator": "Exists"], ["key": "k", "value": "v"],
            ["key": "k", "operator": "Exists", "effect": "NoExecute"],
        ] as [JSONValue] {
            #expect(place(Self.pod("p", ["containers": [], "tolerations": [toleration]]), [tainted]) == .node("b"))
        }
        #expect(
            place(Self.pod("p", ["containers": [], "tolerations": [["key": "k", "value": "x"]]]), [tainted])
                != .node("b"))
    }

    @Test("node selector and required affinity must both match") func affinity() {
        let nodes = [
            Self.node("a"), Self.node("b") { $0.labels["disk"] = "ssd" },
            Self.node("c") { $0.labels = ["disk": "ssd", "gen": "7"] },
        ]
        #expect(place(Self.pod("p", ["nodeSelector": ["disk": "ssd", "gen": "7"]]), nodes) == .node("c"))
        let byExpression: JSONValue = [
            "affinity": [
                "nodeAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [
                            ["matchExpressions": [["key": "gen", "operator": "Gt", "values": ["6"]]]]
                        ]
                    ]
                ]
            ]
        ]
        #expect(place(Self.pod("p", byExpression), nodes) == .node("c"))
        let byName: JSONValue = [
            "affinity": [
                "nodeAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [
                            ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["b"]]]]
                        ]
                    ]
                ]
            ]
        ]
        #expect(place(Self.pod("p", byName), nodes) == .node("b"))
        let nothing: JSONValue = [
            "affinity": [
                "nodeAffinity": ["requiredDuringSchedulingIgnoredDuringExecution": ["nodeSelectorTerms": [[:]]]]
            ]
        ]
        #expect(
            place(Self.pod("p", nothing), nodes)
                == .none(message: "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."))
    }

    @Test("a pod goes where most is left") func leastAllocated() {
        var busy = Self.node("busy")
        busy.add(Self.pod("x", Self.requests("1", "1Gi")))
        #expect(place(Self.pod("p", Self.requests("100m", "10Mi")), [busy, Self.node("idle")]) == .node("idle"))
    }

    @Test("pods of one workload spread over the nodes") func spread() {
        var nodes = ["a", "b", "c"].map { Self.node($0) }
        for i in 0..<9 {
            let pod = Self.pod("p\(i)", Self.requests("10m", "1Mi"), owner: "r")
            guard case .node(let name) = place(pod, nodes), let index = nodes.firstIndex(where: { $0.name == name })
            else {
                Issue.record("pod \(i) found no node")
                return
            }
            nodes[index].add(pod)
        }
        #expect(nodes.map(\.pods.count) == [3, 3, 3])
    }

    @Test("a hard spread constraint is kept even against free room") func hardSpread() {
        let constraint: JSONValue = [
            "containers": [],
            "topologySpreadConstraints": [
                [
                    "topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": ["matchLabels": ["a": "x"]],
                ]
            ],
        ]
        var crowded = Self.node("a")
        crowded.add(Self.pod("1", constraint, labels: ["a": "x"]))
        let full = Self.node("b") { $0.status = ["allocatable": ["pods": "0"]] }
        #expect(
            place(Self.pod("2", constraint, labels: ["a": "x"]), [crowded, full])
                == .none(
                    message:
                        "0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints."
                ))
    }

    @Test("anti-affinity holds both ways") func antiAffinity() {
        let lonely: JSONValue = [
            "containers": [],
            "affinity": [
                "podAntiAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        ["topologyKey": "kubernetes.io/hostname", "labelSelector": ["matchLabels": ["app": "db"]]]
                    ]
                ]
            ],
        ]
        var taken = Self.node("a")
        taken.add(Self.pod("db", lonely, labels: ["app": "db"]))
        #expect(place(Self.pod("db2", lonely, labels: ["app": "db"]), [taken, Self.node("b")]) == .node("b"))
        // This one has no wish of its own, but the one that is there does not want it.
        #expect(place(Self.pod("plain", labels: ["app": "db"]), [taken, Self.node("b")]) == .node("b"))
    }

    @Test("the first pod of a group that wants to be together may go anywhere, the next ones follow")
    func affinityGroup() {
        let together: JSONValue = [
            "containers": [],
            "affinity": [
                "podAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        ["topologyKey": "kubernetes.io/hostname", "labelSelector": ["matchLabels": ["g": "1"]]]
                    ]
                ]
            ],
        ]
        let first = Self.pod("1", together, labels: ["g": "1"])
        #expect(place(first, [Self.node("a")]) == .node("a"))
        var home = Self.node("home")
        home.add(first)
        for _ in 0..<20 {
            #expect(place(Self.pod("2", together, labels: ["g": "1"]), [Self.node("a"), home]) == .node("home"))
        }
    }

    @Test("host ports conflict by address, protocol and number") func hostPorts() {
        func withPort(_ name: String, _ ip: String?, _ transport: String) -> PodDemand {
            var port: JSONValue = ["hostPort": 80, "containerPort": 80, "protocol": .string(transport)]
            if let ip { port["hostIP"] = .string(ip) }
            return Self.pod(name, ["containers": [["ports": [port]]]])
        }
        var node = Self.node("a")
        node.add(withPort("x", "10.0.0.1", "TCP"))
        #expect(place(withPort("p", "10.0.0.2", "TCP"), [node]) == .node("a"))
        #expect(place(withPort("p", "10.0.0.1", "UDP"), [node]) == .node("a"))
        #expect(
            place(withPort("p", nil, "TCP"), [node])
                == .none(
                    message: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."))
    }

    @Test("a pod needs its containers and sidecars together, or its largest init container") func podNeeds() {
        func container(_ cpu: String, sidecar: Bool = false) -> JSONValue {
            var c: JSONValue = ["resources": ["requests": ["cpu": .string(cpu)]]]
            if sidecar { c["restartPolicy"] = "Always" }
            return c
        }
        var pod = KubeObject(apiVersion: "v1", kind: "Pod")
        pod.spec = [
            "containers": [container("100m"), container("200m")],
            "initContainers": [container("1"), container("50m", sidecar: true)],
        ]
        #expect(podRequests(pod).milliCPU == 1000)
        pod.spec["initContainers"] = [container("50m", sidecar: true), container("400m")]
        #expect(podRequests(pod).milliCPU == 450)
        pod.spec["overhead"] = ["cpu": "10m"]
        #expect(podRequests(pod).milliCPU == 460)
    }

    @Test("what a node holds follows from adding and removing pods") func bookkeeping() {
        var node = Self.node("a")
        let pod = Self.pod("p", Self.requests("300m", "1Gi"))
        node.add(pod)
        node.add(pod)
        #expect(node.requested.milliCPU == 300)
        node.remove("p")
        node.remove("p")
        #expect(node.requested == Resources())
        #expect(node.requestedForScore == Resources())
    }
}
