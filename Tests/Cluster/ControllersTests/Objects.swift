import Bytes
import JSON

@testable import ClusterAPI
@testable import Controllers

let noon = Timestamp(rfc3339: "2026-01-01T12:00:00Z") ?? .epoch

/// A time before `noon`.
func ago(_ seconds: Int64) -> JSONValue { .string(Timestamp(seconds: noon.seconds - seconds).rfc3339) }

/// A pod as tests need one.
func pod(
    _ name: String, labels: [String: String] = ["app": "web"], node: String? = "n1", phase: String = "Running",
    ready: Bool = true, readyFor: Int64 = 100, age: Int64 = 200, deleted: Bool = false, ip: String? = nil,
    owner: KubeObject? = nil, change: (inout JSONValue) -> Void = { _ in }
) -> KubeObject {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: name)
    pod.labels = labels
    pod.json["metadata"]?["uid"] = .string("uid-" + name)
    pod.json["metadata"]?["creationTimestamp"] = ago(age)
    if deleted { pod.json["metadata"]?["deletionTimestamp"] = ago(-30) }
    if let owner { pod.ownerReferences = [OwnerReference(controller: owner)] }
    pod.spec = ["containers": [["name": "c", "ports": [["name": "http", "containerPort": 8080, "protocol": "TCP"]]]]]
    if let node { pod.spec["nodeName"] = .string(node) }
    pod.status = [
        "phase": .string(phase),
        "conditions": [
            ["type": "Ready", "status": .string(ready ? "True" : "False"), "lastTransitionTime": ago(readyFor)]
        ],
    ]
    if let ip { pod.status["podIPs"] = [["ip": .string(ip)]] }
    change(&pod.json)
    return pod
}

func service(_ change: (inout JSONValue) -> Void = { _ in }) -> KubeObject {
    var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "cart")
    service.json["metadata"]?["uid"] = "uid-cart"
    service.labels = ["team": "a"]
    service.spec = [
        "selector": ["app": "web"], "ipFamilies": ["IPv4"], "clusterIP": "10.96.0.5",
        "ports": [["name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"]],
    ]
    change(&service.json)
    return service
}
