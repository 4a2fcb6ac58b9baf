import ClusterAPI
import JSON
import Testing

@testable import weft

@Suite("How people name pods")
struct WorkloadNameTests {
    @Test(
        "a name is a namespace, a kind and a name, as far as they are said",
        arguments: [
            ("web", "default", nil, "web"), ("shop/web", "shop", nil, "web"),
            ("deployment/web", "default", WorkloadName.Kind.deployment, "web"),
            ("deploy/web", "default", .deployment, "web"), ("shop/svc/web", "shop", .service, "web"),
            ("pods/web-1", "default", .pod, "web-1"), ("web-1.shop", "shop", nil, "web-1"),
        ] as [(String, String, WorkloadName.Kind?, String)])
    func names(text: String, namespace: String, kind: WorkloadName.Kind?, name: String) throws {
        let parsed = try WorkloadName(text, namespace: "default")
        #expect(parsed.namespace == namespace && parsed.kind == kind && parsed.name == name)
    }

    @Test("what is no name is refused", arguments: ["", "/web", "shop/", "a/b/c", "shop/deployment/web/1"])
    func refused(text: String) {
        #expect(throws: Refusal.self) { try WorkloadName(text, namespace: "default") }
    }

    private static func pod(_ name: String, owner: (String, String)? = nil, app: String = "", ready: Bool = true)
        -> KubeObject
    {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: name)
        if let owner {
            pod.json["metadata"]?["ownerReferences"] = [
                ["kind": .string(owner.0), "name": .string(owner.1), "controller": true]
            ]
        }
        pod.labels = ["app": app]
        pod.json["status"] = ["conditions": [["type": "Ready", "status": ready ? "True" : "False"]]]
        return pod
    }

    @Test("a pod comes before a workload, a workload before a Service, and those that are ready before others")
    func pods() throws {
        var set = KubeObject(apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "shop", name: "web-7f")
        set.json["metadata"]?["ownerReferences"] = [["kind": "Deployment", "name": "web", "controller": true]]
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "front")
        service.json["spec"] = ["selector": ["app": "web"]]
        let pods = [
            Self.pod("web-7f-1", owner: ("ReplicaSet", "web-7f"), app: "web", ready: false),
            Self.pod("web-7f-2", owner: ("ReplicaSet", "web-7f"), app: "web"), Self.pod("lone", app: "other"),
        ]
        func found(_ text: String) throws -> [String] {
            try WorkloadName(text, namespace: "shop").pods(pods, replicaSets: [set], services: [service]).map(\.name)
        }
        #expect(try found("lone") == ["lone"])
        #expect(try found("web") == ["web-7f-2", "web-7f-1"])
        #expect(try found("deployment/web") == ["web-7f-2", "web-7f-1"])
        #expect(try found("rs/web-7f") == ["web-7f-2", "web-7f-1"])
        #expect(try found("front") == ["web-7f-2", "web-7f-1"])
        #expect(try found("svc/lone") == [])
        #expect(try found("statefulset/web") == [])
        #expect(try found("other/web") == [])
    }
}
