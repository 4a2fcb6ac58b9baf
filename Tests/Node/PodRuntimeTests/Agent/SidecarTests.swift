import Bytes
import Glibc
import JSON
import Reactor
import Testing

@testable import PodRuntime

/// Native sidecars (KEP-753) with real containers, and volumes that a driver fills. Containers write what happens to them into one file.
@Suite("sidecars with real containers", .enabled(if: getuid() == 0))
struct SidecarTests {
    private static let patience = 60.0

    /// A container that says when it starts and when it is told to stop.
    private func service(_ name: String, startingWith first: String = "", _ fields: JSONValue = [:]) -> JSONValue {
        var fields = fields
        fields["command"] = [
            "/bin/sh", "-c",
            .string(
                """
                \(first)
                echo \(name)-start >> /s/log
                trap 'echo \(name)-stop >> /s/log; exit 0' TERM
                while :; do sleep 0.02; done
                """),
        ]
        fields["volumeMounts"] = [["name": "s", "mountPath": "/s"]]
        return PodFixture.container(name, fields)
    }

    private func sidecar(_ name: String) -> JSONValue {
        service(
            name, startingWith: "sleep 0.3; touch /s/\(name)",
            [
                "restartPolicy": "Always",
                "startupProbe": [
                    "exec": ["command": ["test", "-e", .string("/s/\(name)")]], "periodSeconds": 1,
                    "failureThreshold": 100,
                ],
            ])
    }

    private func pod(
        _ uid: String, _ node: TestNode, _ containers: [JSONValue], init: [JSONValue], policy: String = "Always"
    )
        throws -> JSONValue
    {
        try Files.makeDirectories("\(node.root)/shared")
        return PodFixture.pod(
            uid: uid, containers: containers,
            spec: [
                "initContainers": .array(`init`), "restartPolicy": .string(policy),
                "volumes": [["name": "s", "hostPath": ["path": .string("\(node.root)/shared")]]],
            ])
    }

    private func log(_ node: TestNode) -> [String] {
        ((try? Files.readText("\(node.root)/shared/log")) ?? "").split(separator: "\n").map(String.init)
    }

    private func container(_ status: JSONValue, _ field: String, _ name: String) -> JSONValue? {
        (status[field]?.array ?? []).first { $0["name"]?.string == name }
    }

    @Test(
        "sidecars are ready before what comes after them, one that is killed comes back alone, and they stop last, in reverse"
    )
    func order() async throws {
        try await TestNode.with { node in
            let uid = "t-sidecars"
            let migrate = PodFixture.container(
                "migrate",
                [
                    "command": ["/bin/sh", "-c", "test -e /s/proxy && echo migrate >> /s/log"],
                    "volumeMounts": [["name": "s", "mountPath": "/s"]],
                ])
            try await node.apply(
                try pod(
                    uid, node, [service("app")], init: [sidecar("proxy"), migrate, sidecar("agent")]))
            var status = try await node.status(uid, within: Self.patience, "readiness") { $0.isReady }
            try await node.until("all started", within: Self.patience) { log(node).contains("app-start") }
            #expect(log(node) == ["proxy-start", "migrate", "agent-start", "app-start"])
            #expect(container(status, "initContainerStatuses", "proxy")?["started"] == true)
            let app = container(status, "containerStatuses", "app")?["containerID"]

            let id = try #require(
                container(status, "initContainerStatuses", "proxy")?["containerID"]?.string?.dropFirst("crun://".count))
            let process = try #require(Int32(Files.readText(node.paths.bundle(String(id)) + "/pid").trimmed))
            kill(process, SIGKILL)
            status = try await node.status(uid, within: Self.patience, "the sidecar again") { status in
                let proxy = (status["initContainerStatuses"]?.array ?? []).first { $0["name"] == "proxy" }
                return proxy?["restartCount"] == 1 && proxy?["state"]?["running"] != nil && proxy?["ready"] == true
            }
            // Its mark is there from before, so that it counts as started at once; stopped is what heeds signals.
            try await node.until("the sidecar's second start", within: Self.patience) {
                log(node).count { $0 == "proxy-start" } == 2
            }
            #expect(container(status, "containerStatuses", "app")?["containerID"] == app)
            #expect(container(status, "containerStatuses", "app")?["restartCount"] == 0)
            #expect(container(status, "initContainerStatuses", "agent")?["restartCount"] == 0)

            try await node.delete(uid, grace: 30)
            try await node.until("the end", within: Self.patience) { node.server.isConfirmed(uid) }
            #expect(log(node).suffix(3) == ["app-stop", "agent-stop", "proxy-stop"])
        }
    }

    /// A sidecar that is ready when somebody says so.
    private func heldSidecar() -> JSONValue {
        service(
            "proxy", startingWith: "",
            [
                "restartPolicy": "Always",
                "startupProbe": [
                    "exec": ["command": ["test", "-e", "/s/go"]], "periodSeconds": 1, "failureThreshold": 1000,
                ],
            ])
    }

    @Test("the app's container is made while its sidecar becomes ready, and runs nothing before")
    func madeAhead() async throws {
        try await TestNode.with { node in
            let uid = "t-ahead"
            node.server.putConfigMap("words", ["WORD": "old"])
            let app = service(
                "app", startingWith: "echo $WORD >> /s/log", ["envFrom": [["configMapRef": ["name": "words"]]]])
            let second = service("second")
            try await node.apply(try pod(uid, node, [app, second], init: [heldSidecar()]))
            @Sendable func containers() -> [String] { Directory.names(node.paths.runtimeRoot) }
            try await node.until("three containers", within: Self.patience) { containers().count == 3 }
            let status = try await node.status(uid, within: Self.patience, "the sidecar") { status in
                status["initContainerStatuses"]?.array?.first?["state"]?["running"] != nil
            }
            for container in status["containerStatuses"]?.array ?? [] {
                #expect(container["state"]?["waiting"]?["reason"] == "PodInitializing")
                #expect(container["containerID"] == nil)
            }
            #expect(!node.server.events.contains { $0.hasPrefix("Created") && $0.contains("app") })
            // What it read while it was made is not what it starts with.
            node.server.putConfigMap("words", ["WORD": "new"])
            try Files.writeAtomically("\(node.root)/shared/go", [])
            try await node.status(uid, within: Self.patience, "readiness") { $0.isReady }
            try await node.until("all started", within: Self.patience) { log(node).contains("second-start") }
            #expect(log(node).filter { $0 != "second-start" } == ["proxy-start", "new", "app-start"])
            try await node.delete(uid, grace: 0)
            try await node.until("the end", within: Self.patience) { node.server.isConfirmed(uid) }
            #expect(containers() == [])
        }
    }

    @Test("containers that were made and never started go with their pod, and with an agent that is killed")
    func madeForNothing() async throws {
        try await TestNode.with { node in
            let uid = "t-nothing"
            try await node.apply(try pod(uid, node, [service("app")], init: [heldSidecar()]))
            @Sendable func containers() -> Set<String> { Set(Directory.names(node.paths.runtimeRoot)) }
            try await node.until("two containers", within: Self.patience) { containers().count == 2 }
            let before = containers()
            await node.killAgent()
            try await node.beginAgent()
            try await node.apply(try pod(uid, node, [service("app")], init: [heldSidecar()]))
            try await node.sync()
            // The sidecar is the same, and the app's container another one.
            try await node.until("another container", within: Self.patience) {
                containers().count == 2 && containers().intersection(before).count == 1
            }
            try await node.delete(uid, grace: 0)
            try await node.until("the end", within: Self.patience) { node.server.isConfirmed(uid) }
            #expect(log(node) == ["proxy-start"])
            #expect(containers() == [])
            #expect(Directory.names(node.paths.run + "/containers") == [])
        }
    }

    @Test("a Job's pod is complete when its own containers are, whatever its sidecars do")
    func job() async throws {
        try await TestNode.with { node in
            let work = PodFixture.container(
                "work",
                [
                    "command": ["/bin/sh", "-c", "echo work >> /s/log"],
                    "volumeMounts": [["name": "s", "mountPath": "/s"]],
                ])
            try await node.apply(try pod("t-job", node, [work], init: [sidecar("proxy")], policy: "Never"))
            let status = try await node.status("t-job", within: Self.patience, "success") { $0["phase"] == "Succeeded" }
            #expect(log(node) == ["proxy-start", "work", "proxy-stop"])
            #expect(container(status, "containerStatuses", "work")?["state"]?["terminated"]?["exitCode"] == 0)
        }
    }

    @Test("a driver fills its volume before a container starts, and hears when the pod is gone")
    func volume() async throws {
        try await TestNode.with { node in
            node.server.setVolumeProblem("not yet")
            try await node.apply(
                PodFixture.pod(
                    uid: "t-driven",
                    containers: [
                        PodFixture.container(
                            "main",
                            [
                                "command": ["/bin/sh", "-c", "grep -q web /v/who && exec sleep 100"],
                                "volumeMounts": [["name": "v", "mountPath": "/v", "readOnly": true]],
                            ])
                    ], spec: ["volumes": [["name": "v", "csi": ["driver": "test.weft.dev"]]]]))
            try await node.until("the reason", within: Self.patience) {
                node.server.events.contains("FailedMount: MountVolume.SetUp failed for volume \"v\" : not yet")
            }
            node.server.setVolumeProblem(nil)
            let status = try await node.status("t-driven", within: Self.patience, "readiness") { $0.isReady }
            #expect(status.container?["restartCount"] == 0)
            #expect(node.server.published == ["t-driven"])
            try await node.delete("t-driven", grace: 0)
            try await node.until("the end", within: Self.patience) { node.server.isConfirmed("t-driven") }
            #expect(node.server.published == [])
        }
    }

    @Test("a driver that is not here is named")
    func unknownDriver() async throws {
        try await TestNode.with { node in
            try await node.apply(
                PodFixture.pod(
                    uid: "t-none", spec: ["volumes": [["name": "v", "csi": ["driver": "ebs.example.com"]]]]))
            try await node.until("the reason", within: Self.patience) {
                node.server.events.contains {
                    $0.contains("driver name ebs.example.com not found in the list of registered CSI drivers")
                }
            }
        }
    }
}
