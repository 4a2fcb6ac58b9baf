import Bytes
import ClusterAPI
import JSON
import Testing

private let now = Timestamp(rfc3339: "2026-01-01T12:00:00Z") ?? .epoch

private func cells(_ kind: GroupVersionKind, _ object: JSONValue) -> [JSONValue] {
    Table(kind).row(object, now: now)["cells"]?.array ?? []
}

@Suite("Tables")
struct TableTests {
    @Test(
        "a span of time is short to read",
        arguments: [
            (Int64(-2), "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"),
            (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172_799, "47h"), (172_800, "2d"),
            (176_400, "2d1h"), (691_200, "8d"), (63_072_000, "2y"), (63_936_000, "2y10d"), (252_288_000, "8y"),
        ])
    func durations(seconds: Int64, text: String) {
        #expect(HumanDuration.text(seconds: seconds) == text)
    }

    static func pod(_ status: JSONValue, inits: [JSONValue] = [], deleted: Bool = false) -> JSONValue {
        var metadata: JSONValue = ["name": "p", "creationTimestamp": "2026-01-01T11:55:00Z"]
        if deleted { metadata["deletionTimestamp"] = "2026-01-01T12:00:30Z" }
        return [
            "metadata": metadata, "status": status,
            "spec": ["containers": [["name": "a"], ["name": "b"]], "initContainers": .array(inits)],
        ]
    }

    static func container(_ name: String, _ state: JSONValue, ready: Bool = false, restarts: Int64 = 0) -> JSONValue {
        ["name": .string(name), "state": state, "ready": .bool(ready), "restartCount": .int(restarts)]
    }

    static let running: JSONValue = ["running": ["startedAt": "2026-01-01T11:56:00Z"]]
    static let done: JSONValue = ["terminated": ["exitCode": 0, "reason": "Completed"]]

    static let pods: [(String, JSONValue, String, String, String)] = [
        ("pending", pod(["phase": "Pending"]), "0/2", "Pending", "0"),
        (
            "running",
            pod([
                "phase": "Running",
                "containerStatuses": [container("a", running, ready: true), container("b", running, ready: true)],
            ]),
            "2/2", "Running", "0"
        ),
        (
            "crash loop",
            pod([
                "phase": "Running",
                "containerStatuses": [
                    container("a", running, ready: true),
                    [
                        "name": "b", "state": ["waiting": ["reason": "CrashLoopBackOff"]], "ready": false,
                        "restartCount": 3,
                        "lastState": ["terminated": ["finishedAt": "2026-01-01T11:58:00Z", "exitCode": 1]],
                    ],
                ],
            ]), "1/2", "CrashLoopBackOff", "3 (2m ago)"
        ),
        (
            "init progress",
            pod(
                ["phase": "Pending", "initContainerStatuses": [container("i", done), container("j", running)]],
                inits: [["name": "i"], ["name": "j"]]), "0/2", "Init:1/2", "0"
        ),
        (
            "init failed",
            pod(
                ["phase": "Pending", "initContainerStatuses": [container("i", ["terminated": ["exitCode": 3]])]],
                inits: [["name": "i"]]), "0/2", "Init:ExitCode:3", "0"
        ),
        (
            "a sidecar counts as a container",
            pod(
                [
                    "phase": "Running",
                    "initContainerStatuses": [
                        ["name": "i", "state": running, "ready": true, "started": true, "restartCount": 1]
                    ],
                    "containerStatuses": [container("a", running, ready: true), container("b", running, ready: true)],
                ], inits: [["name": "i", "restartPolicy": "Always"]]), "3/3", "Running", "1"
        ),
        (
            "one of two completed",
            pod([
                "phase": "Running", "containerStatuses": [container("a", done), container("b", running, ready: true)],
            ]),
            "1/2", "NotReady", "0"
        ),
        (
            "completed",
            pod(["phase": "Succeeded", "containerStatuses": [container("a", done), container("b", done)]]),
            "0/2", "Completed", "0"
        ),
        (
            "going away",
            pod(["phase": "Running", "containerStatuses": [container("a", running, ready: true)]], deleted: true),
            "1/2",
            "Terminating", "0"
        ),
        ("evicted", pod(["phase": "Failed", "reason": "Evicted"]), "0/2", "Evicted", "0"),
        (
            "gated",
            pod([
                "phase": "Pending",
                "conditions": [["type": "PodScheduled", "status": "False", "reason": "SchedulingGated"]],
            ]),
            "0/2", "SchedulingGated", "0"
        ),
        (
            "killed by a signal",
            pod([
                "phase": "Failed",
                "containerStatuses": [container("a", ["terminated": ["exitCode": 137, "signal": 9]])],
            ]),
            "0/2", "Signal:9", "0"
        ),
    ]

    @Test("a pod's line", arguments: pods)
    func podLine(name: String, pod: JSONValue, ready: String, status: String, restarts: String) {
        let row = cells(GroupVersionKind(kind: "Pod"), pod)
        #expect(Array(row.prefix(5)) == ["p", .string(ready), .string(status), .string(restarts), "5m"])
    }

    @Test("a service's line")
    func service() {
        let row = cells(
            GroupVersionKind(kind: "Service"),
            [
                "metadata": ["name": "s", "creationTimestamp": "2026-01-01T11:59:00Z"],
                "spec": [
                    "type": "NodePort", "clusterIP": "10.96.0.1", "selector": ["app": "web"],
                    "ports": [["port": 80, "nodePort": 30080, "protocol": "TCP"], ["port": 53, "protocol": "UDP"]],
                ],
            ])
        #expect(row == ["s", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "60s", "app=web"])
    }

    @Test("a node's line")
    func node() {
        let row = cells(
            GroupVersionKind(kind: "Node"),
            [
                "metadata": ["name": "n", "labels": ["node-role.kubernetes.io/control-plane": ""]],
                "spec": ["unschedulable": true],
                "status": [
                    "conditions": [["type": "Ready", "status": "True"]], "nodeInfo": ["kubeletVersion": "v1"],
                    "addresses": [["type": "InternalIP", "address": "10.0.0.1"]],
                ],
            ])
        #expect(
            Array(row.prefix(7)) == [
                "n", "Ready,SchedulingDisabled", "control-plane", "<unknown>", "v1", "10.0.0.1", "<none>",
            ])
    }

    @Test("a kind without columns of its own shows its name and when it was made")
    func anyKind() {
        let row = cells(
            GroupVersionKind(group: "x.y", kind: "Z"),
            ["metadata": ["name": "z", "creationTimestamp": "2026-01-01T11:00:00Z"]])
        #expect(row == ["z", "2026-01-01T11:00:00Z"])
    }

    @Test("a table carries columns once, rows, metadata and what was asked to be included")
    func table() throws {
        let pod = Self.pod(["phase": "Succeeded"])
        let kind = GroupVersionKind(kind: "Pod")
        let whole = Table(kind).json(of: [pod], metadata: ["resourceVersion": "7"], now: now)
        #expect(whole["metadata"]?["resourceVersion"] == "7")
        #expect(whole["apiVersion"] == "meta.k8s.io/v1")
        let columns = whole["columnDefinitions"]?.array ?? []
        let row = whole["rows"]?[0]
        #expect(columns.count == 9)
        #expect(columns.count == row?["cells"]?.array?.count)
        #expect(columns.map { $0["priority"]?.int } == [0, 0, 0, 0, 0, 1, 1, 1, 1])
        #expect(columns[0]["format"] == "name")
        #expect(row?["object"]?["kind"] == "PartialObjectMetadata")
        #expect(row?["conditions"]?[0]?["type"] == "Completed")
        let later = Table(kind, version: "v1beta1", include: .object).json(of: [pod], withColumns: false, now: now)
        #expect(later["columnDefinitions"] == .null || later["columnDefinitions"] == [])
        #expect(later["apiVersion"] == "meta.k8s.io/v1beta1")
        #expect(later["rows"]?[0]?["object"] == pod)
        #expect(Table(kind, include: .none).row(pod, now: now)["object"] == nil)
        #expect(throws: StatusError.self) { try Table.IncludeObject(query: "Everything") }
    }
}
