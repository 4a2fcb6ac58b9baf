import Bytes
import JSON
import Testing

@testable import ClusterAPI
@testable import Controllers

@Suite("ReplicaSet")
struct ReplicaSetPlanTests {
    @Test(
        "pods that have ended or are going do not count",
        arguments: [
            (3, 0, 3, 0), (2, 2, 0, 0), (1, 2, 0, 1), (0, 2, 0, 2), (800, 2, 500, 0),
        ])
    func counts(replicas: Int, there: Int, creations: Int, deletions: Int) {
        var pods = (0..<there).map { pod("p\($0)") }
        pods += [pod("ended", phase: "Succeeded"), pod("failed", phase: "Failed"), pod("going", deleted: true)]
        let plan = ReplicaSetPlan(replicas: replicas, pods: pods, siblings: pods, now: noon)
        #expect(plan.creations == creations)
        #expect(plan.deletions.count == deletions)
    }

    static let pairs: [(String, KubeObject, KubeObject)] = [
        (
            "without a node", pod("a", node: nil, phase: "Pending", ready: false),
            pod("b", phase: "Pending", ready: false)
        ),
        ("pending before running", pod("a", phase: "Pending", ready: false), pod("b", ready: false)),
        ("unknown before running", pod("a", phase: "Unknown", ready: false), pod("b", ready: false)),
        ("not ready before ready", pod("a", ready: false), pod("b")),
        (
            "cheap before dear",
            pod("a") { $0["metadata"]?["annotations"] = ["controller.kubernetes.io/pod-deletion-cost": "-5"] },
            pod("b")
        ),
        ("ready for a short time", pod("a", readyFor: 3), pod("b", readyFor: 4000)),
        (
            "often restarted", pod("a") { $0["status"]?["containerStatuses"] = [["restartCount": 4]] },
            pod("b") { $0["status"]?["containerStatuses"] = [["restartCount": 1]] }
        ),
        ("young before old", pod("a", age: 10), pod("b", age: 5000)),
    ]

    @Test("what is worth least goes first", arguments: pairs)
    func order(rule: String, first: KubeObject, second: KubeObject) {
        for pods in [[first, second], [second, first]] {
            let plan = ReplicaSetPlan(replicas: 1, pods: pods, siblings: pods, now: noon)
            #expect(plan.deletions.map(\.name) == ["a"], "\(rule)")
        }
    }

    @Test("a crowded node gives up its pod first")
    func crowd() {
        let pods = [pod("a", node: "n1"), pod("b", node: "n2"), pod("c", node: "n2")]
        let plan = ReplicaSetPlan(replicas: 2, pods: pods, siblings: pods, now: noon)
        #expect(plan.deletions.map { $0.spec["nodeName"]?.string } == ["n2"])
    }

    @Test("the status counts what is there, and what is ready for long enough is available")
    func status() {
        var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "shop", name: "web")
        set.spec = ["minReadySeconds": 60, "template": ["metadata": ["labels": ["app": "web", "v": "2"]]]]
        set.json["metadata"]?["generation"] = 2
        let pods = [
            pod("a", labels: ["app": "web", "v": "2"], readyFor: 61), pod("b", readyFor: 59), pod("c", ready: false),
            pod("d", deleted: true), pod("e", phase: "Failed"),
        ]
        let status = replicaSetStatus(set, pods: pods, failure: nil, now: noon)
        #expect(
            status == [
                "replicas": 3, "fullyLabeledReplicas": 1, "readyReplicas": 2, "availableReplicas": 1,
                "terminatingReplicas": 1, "observedGeneration": 2,
            ])
        let failed = replicaSetStatus(set, pods: pods, failure: "quota", now: noon)
        #expect(failed["conditions"]?[0]?["type"] == "ReplicaFailure")
        set.status = failed
        #expect(replicaSetStatus(set, pods: pods, failure: nil, now: noon)["conditions"] == nil)
    }

    @Test("a controller holds still until its cache has shown what it did")
    func expectations() {
        let expectations = Expectations()
        let key = ObjectKey(namespace: "shop", name: "web")
        #expect(expectations.areFulfilled(for: key))
        expectations.created("a", by: key)
        expectations.deleting("b", by: key)
        #expect(!expectations.areFulfilled(for: key))
        expectations.sawCreation("a", of: key)
        #expect(!expectations.areFulfilled(for: key))
        expectations.sawDeletion("b", of: key)
        #expect(expectations.areFulfilled(for: key))
        expectations.created("c", by: key)
        expectations.sawDeletion("c", of: key)
        #expect(expectations.areFulfilled(for: key))
    }
}
