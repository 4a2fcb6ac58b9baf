import ClusterAPI
import Glibc
import JSON

// JSON text and Kubernetes objects, one thread: what a request's body costs on its way through the API server.
// Usage: bench-json [--json] [words of the rows to measure]

/// Seconds of CPU that this process has used.
func processSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Microseconds of CPU a call: the median of five rounds of at least a fifth of a second.
func microseconds(_ body: () throws -> Void) rethrows -> Double {
    var rounds: [Double] = []
    for _ in 0..<5 {
        var calls = 0
        let start = processSeconds()
        var elapsed = 0.0
        repeat {
            for _ in 0..<16 { try body() }
            calls += 16
            elapsed = processSeconds() - start
        } while elapsed < 0.2
        rounds.append(elapsed / Double(calls) * 1e6)
    }
    return rounds.sorted()[2]
}

/// Resident kilobytes of this process that no file backs.
func residentKilobytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
    let fields = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.split(separator: UInt8(ascii: " "))
    let numbers = fields.compactMap { Int(String(decoding: $0, as: UTF8.self)) }
    return numbers.count > 2 ? (numbers[1] - numbers[2]) * 4 : 0
}

let kilobytesBefore = residentKilobytes()
let secondsBefore = processSeconds()
let typeCount = Schema.shared.resources.count
let schemaMilliseconds = (processSeconds() - secondsBefore) * 1e3
let schemaKilobytes = residentKilobytes() - kilobytesBefore

/// A pod as a server keeps it, about 3 KB.
let pod: JSONValue = [
    "apiVersion": "v1", "kind": "Pod",
    "metadata": [
        "name": "cart-5d9c7b6f4-x2x9z", "generateName": "cart-5d9c7b6f4-", "namespace": "shop",
        "uid": "6a3e1c1e-8a57-4f0e-9f4b-0c8a5a1f3b11", "resourceVersion": "481516", "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": ["app": "cart", "pod-template-hash": "5d9c7b6f4", "app.kubernetes.io/part-of": "shop"],
        "annotations": ["weft.dev/checksum": "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"],
        "ownerReferences": [
            [
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d9c7b6f4", "controller": true,
                "blockOwnerDeletion": true, "uid": "0ba3e1c1-8a57-4f0e-9f4b-0c8a5a1f3b22",
            ]
        ],
    ],
    "spec": [
        "containers": [
            [
                "name": "cart", "image": "registry.example/shop/cart:1.4.2",
                "args": ["--listen", ":8080", "--verbose"],
                "env": [
                    ["name": "REDIS", "value": "redis.shop.svc.cluster.local:6379"],
                    ["name": "POD_IP", "valueFrom": ["fieldRef": ["apiVersion": "v1", "fieldPath": "status.podIP"]]],
                ],
                "ports": [["name": "http", "containerPort": 8080, "protocol": "TCP"]],
                "readinessProbe": [
                    "httpGet": ["path": "/healthz", "port": "http", "scheme": "HTTP"], "periodSeconds": 5,
                    "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
                ],
                "resources": [
                    "limits": ["cpu": "500m", "memory": "256Mi"], "requests": ["cpu": "100m", "memory": "128Mi"],
                ],
                "volumeMounts": [
                    [
                        "name": "kube-api-access-7x8zq", "readOnly": true,
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                    ]
                ],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            ]
        ],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default", "serviceAccount": "default", "nodeName": "node-17",
        "securityContext": [:], "schedulerName": "default-scheduler", "enableServiceLinks": true, "priority": 0,
        "tolerations": [
            [
                "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            ]
        ],
        "volumes": [
            [
                "name": "kube-api-access-7x8zq",
                "projected": [
                    "defaultMode": 420,
                    "sources": [
                        ["serviceAccountToken": ["expirationSeconds": 3607, "path": "token"]],
                        ["configMap": ["name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]]]],
                    ],
                ],
            ]
        ],
    ],
    "status": [
        "phase": "Running", "hostIP": "172.30.1.10", "podIP": "10.244.3.17", "podIPs": [["ip": "10.244.3.17"]],
        "startTime": "2026-01-02T03:04:06Z", "qosClass": "Burstable",
        "conditions": [
            ["type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:09Z"],
            ["type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"],
        ],
    ],
]

/// What a client creates, about 1 KB.
let deployment: JSONValue = [
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": [
        "name": "cart", "namespace": "shop", "labels": ["app": "cart"], "creationTimestamp": "2026-01-02T03:04:05Z",
    ],
    "spec": [
        "replicas": 3, "selector": ["matchLabels": ["app": "cart"]],
        "strategy": ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": "25%", "maxUnavailable": "25%"]],
        "template": [
            "metadata": ["labels": ["app": "cart"]],
            "spec": [
                "containers": [
                    [
                        "name": "cart", "image": "registry.example/shop/cart:1.4.2", "args": ["--listen", ":8080"],
                        "env": [["name": "REDIS", "value": "redis.shop.svc.cluster.local:6379"]],
                        "ports": [["name": "http", "containerPort": 8080, "protocol": "TCP"]],
                        "readinessProbe": [
                            "httpGet": ["path": "/healthz", "port": "http", "scheme": "HTTP"], "periodSeconds": 5,
                        ],
                        "resources": [
                            "limits": ["cpu": "500m", "memory": "256Mi"],
                            "requests": ["cpu": "100m", "memory": "128Mi"],
                        ],
                    ]
                ],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "schedulerName": "default-scheduler",
            ],
        ],
    ],
]

let kind = GroupVersionKind(group: "apps", kind: "Deployment")
let podText = pod.encoded()
let text = deployment.encoded()
let podBytes = try ProtobufCodec.shared.encode(pod)
let list: JSONValue = ["kind": "PodList", "items": .array(Array(repeating: pod, count: 300))]
let listText = list.encoded()

var conformed = try Conformance.shared.conform(deployment, to: kind).object
Defaulting.apply(to: &conformed, of: kind)

struct Row {
    var name: String
    var bytes: Int
    var microseconds: Double
}
let wanted = CommandLine.arguments.dropFirst().filter { $0 != "--json" }.joined(separator: " ")
var rows: [Row] = []
@MainActor func measure(_ name: String, _ bytes: Int, _ body: () throws -> Void) rethrows {
    guard wanted.isEmpty || name.contains(wanted) else { return }
    rows.append(Row(name: name, bytes: bytes, microseconds: try microseconds(body)))
}

try measure("JSON to value, list of 300 pods", listText.count) { _ = try JSONValue.parse(listText) }
try measure("JSON to value, pod", podText.count) { _ = try JSONValue.parse(podText) }
measure("value to JSON, pod", podText.count) { _ = pod.encoded() }
try measure("value to protobuf, pod", podBytes.count) { _ = try ProtobufCodec.shared.encode(pod) }
try measure("protobuf to value, pod", podBytes.count) { _ = try ProtobufCodec.shared.decode(podBytes) }
try measure("JSON to value, deployment", text.count) { _ = try JSONValue.parse(text) }
try measure("conform, deployment", text.count) { _ = try Conformance.shared.conform(deployment, to: kind) }
measure("default, deployment", text.count) {
    var object = deployment
    Defaulting.apply(to: &object, of: kind)
}
try measure("protobuf, deployment", text.count) { _ = try ProtobufCodec.shared.encode(conformed) }
try measure("create: JSON, conform, default, JSON", text.count) {
    var object = try Conformance.shared.conform(JSONValue.parse(text), to: kind).object
    Defaulting.apply(to: &object, of: kind)
    _ = object.encoded()
}

func padded(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
func rounded(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

if CommandLine.arguments.contains("--json") {
    let values = rows.map { row -> JSONValue in
        [
            "name": .string(row.name), "bytes": .int(Int64(row.bytes)), "microseconds": .double(row.microseconds),
            "megabytesPerSecond": .double(Double(row.bytes) / row.microseconds),
        ]
    }
    print(JSONValue.array(values).pretty())
} else {
    print("schema of \(typeCount) resources: read in \(rounded(schemaMilliseconds)) ms, \(schemaKilobytes) KB resident")
    print("one thread, median of 5 rounds, CPU time")
    for row in rows {
        let name = row.name + String(repeating: " ", count: max(0, 40 - row.name.count))
        print(
            name, padded("\(row.bytes)", 8), "B", padded(rounded(row.microseconds), 9), "µs",
            padded(rounded(Double(row.bytes) / row.microseconds), 7), "MB/s")
    }
}
