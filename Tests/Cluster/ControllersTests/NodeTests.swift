import Bytes
import JSON
import Testing

@testable import ClusterAPI
@testable import Controllers

@Suite("Nodes")
struct NodeTests {
    static func node(ready: String?, taints: JSONValue? = nil, unschedulable: Bool = false) -> KubeObject {
        var node = KubeObject(apiVersion: "v1", kind: "Node", name: "n1")
        node.spec = [:]
        if let taints { node.spec["taints"] = taints }
        if unschedulable { node.spec["unschedulable"] = true }
        if let ready {
            node.status = ["conditions": [["type": "Ready", "status": .string(ready), "lastTransitionTime": ago(100)]]]
        }
        return node
    }

    static func keys(_ taints: [JSONValue]) -> [String] {
        taints.map { "\($0["key"]?.string ?? ""):\($0["effect"]?.string ?? "")" }
    }

    @Test(
        "taints say what a node's health is",
        arguments: [
            ("True", []),
            ("False", ["node.kubernetes.io/not-ready:NoExecute", "node.kubernetes.io/not-ready:NoSchedule"]),
            ("Unknown", ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"]),
        ])
    func health(ready: String, expected: [String]) {
        #expect(Self.keys(healthTaints(Self.node(ready: ready), now: noon)) == expected)
    }

    @Test("taints of others stay where they are, and those of ours that no longer hold go")
    func others() {
        let node = Self.node(
            ready: "True",
            taints: [
                ["key": "gpu", "effect": "NoSchedule"], ["key": "node.kubernetes.io/not-ready", "effect": "NoExecute"],
            ], unschedulable: true)
        #expect(
            Self.keys(healthTaints(node, now: noon)) == [
                "gpu:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule",
            ])
    }

    @Test("a taint that holds keeps the time since when it does")
    func since() {
        let first = healthTaints(Self.node(ready: "False"), now: noon)
        let later = Timestamp(seconds: noon.seconds + 100)
        #expect(healthTaints(Self.node(ready: "False", taints: .array(first)), now: later) == first)
    }

    @Test("what a silent node said last is not known to hold")
    func silent() {
        let status = statusOfSilentNode(Self.node(ready: "True"), now: noon)
        let conditions = status["conditions"]?.array ?? []
        #expect(conditions.map { $0["status"] } == ["Unknown", "Unknown", "Unknown", "Unknown"])
        #expect(conditions[0]["reason"] == "NodeStatusUnknown")
        #expect(conditions[1]["reason"] == "NodeStatusNeverUpdated")
        var again = Self.node(ready: "True")
        again.status = status
        #expect(statusOfSilentNode(again, now: Timestamp(seconds: noon.seconds + 5)) == status)
    }

    static let taint: JSONValue = ["key": "k", "effect": "NoExecute", "timeAdded": ago(100)]
    static let undated: JSONValue = ["key": "k", "effect": "NoExecute"]

    @Test(
        "how long a pod may stay",
        arguments: [
            ([], [taint], 0), ([["operator": "Exists"]], [taint], nil),
            ([["key": "k", "operator": "Exists", "tolerationSeconds": 300]], [taint], 200),
            ([["key": "k", "operator": "Exists", "tolerationSeconds": 50]], [taint], -50),
            ([["key": "k", "operator": "Exists", "tolerationSeconds": 300]], [undated], 290),
            ([["key": "k", "value": "x"]], [taint], 0),
            ([["key": "k", "operator": "Exists", "effect": "NoSchedule"]], [taint], 0),
            ([["key": "k", "operator": "Exists"]], [], nil),
            ([["key": "k", "operator": "Exists"]], [taint, ["key": "l", "effect": "NoExecute"]], 0),
        ] as [([JSONValue], [JSONValue], Int64?)])
    func eviction(tolerations: [JSONValue], taints: [JSONValue], seconds: Int64?) {
        let pod = pod("a") { $0["spec"]?["tolerations"] = .array(tolerations) }
        let noticed = Timestamp(seconds: noon.seconds - 10)
        #expect(evictionDelay(pod, taints: taints, noticed: noticed, now: noon) == seconds)
    }

    @Test(
        "every node gets a block of its own, the first that is free",
        arguments: [
            ("10.244.0.0/16", 24, [], "10.244.0.0/24"),
            ("10.244.0.0/16", 24, ["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24"),
            ("10.0.0.0/23", 24, ["10.0.0.0/24", "10.0.1.0/24"], nil),
            ("10.0.0.0/22", 23, ["10.0.0.0/23"], "10.0.2.0/23"),
            ("fd00::/48", 64, ["fd00::/64"], "fd00:0:0:1::/64"), ("10.0.0.0/24", 16, [], nil),
        ] as [(String, UInt8, [String], String?)])
    func blocks(cluster: String, mask: UInt8, taken: [String], expected: String?) throws {
        let cluster = try #require(CIDR(cluster))
        #expect(freeBlock(of: cluster, prefixLength: mask, taken: Set(taken)) == expected.flatMap { CIDR($0) })
    }

    @Test("pods of nodes that are gone, that never had a node, and ended ones beyond the limit are collected")
    func garbage() {
        let pods = [
            pod("lost", node: "gone"), pod("fine"), pod("stuck", node: nil, deleted: true), pod("waits", node: nil),
            pod("old", phase: "Succeeded", age: 900), pod("new", phase: "Failed", age: 100),
        ]
        let doomed = podsToCollect(pods, goneNodes: ["gone"], terminatedLimit: 1)
        #expect(doomed.map(\.name) == ["lost", "stuck", "old"])
    }

    @Test(
        "an event goes an hour after it last happened",
        arguments: [
            (["lastTimestamp": ago(3599)], false), (["lastTimestamp": ago(3600)], true),
            (["eventTime": ago(4000), "series": ["lastObservedTime": ago(10)]], false),
            (["metadata": ["creationTimestamp": ago(3601)]], true), ([:], false),
        ] as [(JSONValue, Bool)])
    func events(event: JSONValue, expired: Bool) {
        #expect(isExpired(KubeObject(json: event), lifetime: 3600, now: noon) == expired)
    }
}

@Suite("Owner graph")
struct OwnerGraphTests {
    static let resource = OwnerGraph.Resource(resource: .pods, kind: "Pod", isNamespaced: true)

    static func object(_ uid: String, owners: [String] = [], finalizers: [String] = [], going: Bool = false)
        -> OwnedObject
    {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: uid)
        object.json["metadata"]?["uid"] = .string(uid)
        object.finalizers = finalizers
        object.ownerReferences = owners.map {
            OwnerReference(json: ["apiVersion": "v1", "kind": "Pod", "name": .string($0), "uid": .string($0)])
        }
        if going { object.json["metadata"]?["deletionTimestamp"] = "2026-01-01T00:00:00Z" }
        return OwnedObject(object)
    }

    static func upsert(_ graph: OwnerGraph, _ object: OwnedObject) -> [String] {
        graph.upsert(object, ObjectKey(namespace: "shop", name: object.uid), resource).map(\.uid)
    }

    @Test("what is new and owned is looked at; what its owner leaves behind is looked at again")
    func dependents() {
        let graph = OwnerGraph()
        #expect(Self.upsert(graph, Self.object("a")) == [])
        #expect(Self.upsert(graph, Self.object("b", owners: ["a"])) == ["b"])
        #expect(Self.upsert(graph, Self.object("b", owners: ["a"])) == [])
        #expect(graph.dependents(.init(uid: "a")).map(\.identity.uid) == ["b"])
        #expect(graph.remove(Self.object("a")).map(\.uid) == ["b"])
        #expect(graph.remove(Self.object("b", owners: ["a"])).map(\.uid) == ["a"])
        #expect(!graph.hasDependents(.init(uid: "a")))
    }

    @Test("an object that waits for its dependents is looked at when it begins to go")
    func finalizers() {
        let graph = OwnerGraph()
        #expect(Self.upsert(graph, Self.object("a", finalizers: ["foregroundDeletion"], going: true)) == ["a"])
        #expect(Self.upsert(graph, Self.object("b", finalizers: ["orphan"], going: true)) == ["b"])
        #expect(Self.upsert(graph, Self.object("c", finalizers: ["x/y"], going: true)) == [])
    }

    @Test("nobody is judged before every resource was seen once")
    func synced() {
        let graph = OwnerGraph()
        #expect(!graph.hasSynced)
        graph.watching(Self.resource)
        #expect(!graph.hasSynced)
        graph.synced(.pods)
        #expect(graph.hasSynced)
    }
}
