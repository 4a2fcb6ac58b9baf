import Bytes
import Glibc
import JSON
import Reactor
import Testing

@testable import PodRuntime

@Suite("a node's agent with real containers", .enabled(if: getuid() == 0))
struct NodeAgentTests {
    private func script(
        _ text: String, uid: String, container: JSONValue = [:], spec: JSONValue = [:]
    ) -> JSONValue {
        var fields = container
        fields["command"] = ["/bin/sh", "-c", .string(text)]
        return PodFixture.pod(uid: uid, containers: [PodFixture.container("main", fields)], spec: spec)
    }

    private func process(of node: TestNode, _ uid: String) -> Int32? {
        guard let id = node.server.status(uid)?.container?["containerID"]?.string?.dropFirst("crun://".count),
            let text = try? Files.readText(node.paths.bundle(String(id)) + "/pid")
        else { return nil }
        return Int32(text.trimmed)
    }

    @Test("a pod becomes ready, with its probe asked inside the container and its variables set")
    func ready() async throws {
        try await TestNode.with { node in
            let pod = script(
                "echo $KUBERNETES_SERVICE_HOST $WHO; touch /tmp/ok; exec sleep 100", uid: "t-ready",
                container: [
                    "env": [["name": "WHO", "value": "$(KUBERNETES_SERVICE_PORT)"]],
                    "readinessProbe": ["exec": ["command": ["test", "-e", "/tmp/ok"]]],
                ])
            try await node.apply(pod)
            let status = try await node.status("t-ready", "readiness") { $0.isReady }
            #expect(status["phase"]?.string == "Running")
            #expect(status["podIP"]?.string == "10.1.2.3")
            #expect(status.container?["restartCount"]?.int == 0, "\(node.server.events)")
            let log = node.paths.logFile(try PodSpec(pod: pod).identity, "main", attempt: 0)
            try await node.until("the log") { ((try? Files.readText(log)) ?? "").contains("stdout F 10.96.0.1 443") }
            #expect(node.server.events.contains("Started: Started container main"))
        }
    }

    @Test("a killed process is started again, and the pod says how the one before ended")
    func restart() async throws {
        try await TestNode.with { node in
            try await node.apply(script("exec sleep 100", uid: "t-restart"))
            try await node.status("t-restart", "readiness") { $0.isReady }
            let pid = try #require(process(of: node, "t-restart"))
            #expect(kill(pid, SIGKILL) == 0)
            let status = try await node.status("t-restart", "the restart") {
                $0.container?["restartCount"]?.int == 1 && $0.isReady
            }
            #expect(status.container?["lastState"]?["terminated"]?["exitCode"]?.int == 137)
            #expect(status.container?["lastState"]?["terminated"]?["reason"]?.string == "Error")
        }
    }

    @Test("a container runs on when its agent is killed, and the next agent takes it up as it is")
    func adoption() async throws {
        try await TestNode.with { node in
            try await node.apply(script("exec sleep 100", uid: "t-adopt"))
            try await node.status("t-adopt", "readiness") { $0.isReady }
            let pid = try #require(process(of: node, "t-adopt"))
            await node.killAgent()
            #expect(kill(pid, 0) == 0)
            try await node.beginAgent()
            try await node.apply(try #require(node.server.pod("t-adopt")))
            try await node.sync()
            #expect(node.server.status("t-adopt")?.isReady == true)
            #expect(process(of: node, "t-adopt") == pid)
            // Its end is seen by the new agent, though it is nobody's child.
            #expect(kill(pid, SIGKILL) == 0)
            let status = try await node.status("t-adopt", "the restart") {
                $0.container?["restartCount"]?.int == 1 && $0.isReady
            }
            #expect(status.container?["lastState"]?["terminated"]?["exitCode"]?.int == 137)
        }
    }

    @Test("a container that ended while no agent lived is found ended with its code, and restarted")
    func endedUnseen() async throws {
        try await TestNode.with { node in
            try await node.apply(
                script(
                    "while ! test -e /shared/go; do sleep 0.01; done; echo late > /dev/termination-log; exit 5",
                    uid: "t-unseen", container: ["volumeMounts": [["name": "shared", "mountPath": "/shared"]]],
                    spec: ["volumes": [["name": "shared", "emptyDir": [:]]], "restartPolicy": "Never"]))
            try await node.status("t-unseen", "readiness") { $0.isReady }
            await node.killAgent()
            try Directory.touch(node.paths.diskVolume("t-unseen", "shared") + "/go")
            try await node.until("the exit record") { !Directory.names(node.paths.exits).isEmpty }
            try await node.beginAgent()
            try await node.apply(try #require(node.server.pod("t-unseen")))
            try await node.sync()
            let status = try await node.status("t-unseen", "the end") { $0["phase"]?.string == "Failed" }
            let terminated = status.container?["state"]?["terminated"]
            #expect(terminated?["exitCode"]?.int == 5)
            #expect(terminated?["message"]?.string == "late\n")
        }
    }

    @Test(
        "an agent that is killed at any moment of a pod's start leaves nothing that the next one does not put right",
        arguments: [0, 2, 5, 10, 15, 20, 30, 45, 60])
    func killedWhileStarting(milliseconds: Int) async throws {
        try await TestNode.with { node in
            let pod = script(
                "exec sleep 100", uid: "t-early", spec: ["volumes": [["name": "v", "emptyDir": ["medium": "Memory"]]]])
            try await node.apply(pod)
            try await Task.sleep(for: .milliseconds(milliseconds))
            await node.killAgent()
            try await node.beginAgent()
            try await node.apply(try #require(node.server.pod("t-early")))
            try await node.sync()
            let status = try await node.status("t-early", "readiness") { $0.isReady }
            #expect(status.container?["restartCount"]?.int == 0, "\(node.server.events)")
            try await node.delete("t-early", grace: 0)
            try await node.until("the confirmation") { node.server.isConfirmed("t-early") }
        }
    }

    @Test("a pod that the server forgot while no agent lived is stopped once the server has said which pods there are")
    func forgotten() async throws {
        try await TestNode.with { node in
            try await node.apply(script("exec sleep 100", uid: "t-forgot", spec: ["terminationGracePeriodSeconds": 1]))
            try await node.status("t-forgot", "readiness") { $0.isReady }
            let pid = try #require(process(of: node, "t-forgot"))
            await node.killAgent()
            try await node.beginAgent()
            #expect(kill(pid, 0) == 0)
            try await node.sync()
            try await node.until("the end of the process") { kill(pid, 0) != 0 }
            try await node.until("an empty node") { Directory.names(node.paths.state + "/pods").isEmpty }
        }
    }

    @Test("deletion gives the container its signal and leaves nothing on the node")
    func deletion() async throws {
        try await TestNode.with { node in
            let pod = script(
                "trap 'echo got it; exit 0' TERM; touch /tmp/up; while :; do sleep 0.01; done", uid: "t-delete",
                container: [
                    "readinessProbe": ["exec": ["command": ["test", "-e", "/tmp/up"]]],
                    "lifecycle": ["preStop": ["exec": ["command": ["touch", "/tmp/bye"]]]],
                ],
                spec: [
                    "volumes": [
                        ["name": "v", "emptyDir": ["medium": "Memory"]], ["name": "c", "downwardAPI": ["items": []]],
                    ]
                ])
            try await node.apply(pod)
            try await node.status("t-delete", "readiness") { $0.isReady }
            #expect(node.server.attached.count == 1)
            try await node.delete("t-delete", grace: 30)
            try await node.until("the confirmation") { node.server.isConfirmed("t-delete") }
            // The worker goes a moment after its last word to the server.
            for _ in 0..<1000 where try await node.perform({ await $0.podCount }) > 0 {
                try await Task.sleep(for: .milliseconds(2))
            }
            #expect(Directory.names(node.paths.log + "/pods").isEmpty)
            #expect(node.server.attached.isEmpty)
            #expect(Directory.names(node.paths.state + "/pods").isEmpty)
            #expect(Directory.names(node.paths.run + "/containers").isEmpty)
            #expect(Directory.names(node.paths.run + "/sandboxes").isEmpty)
            #expect(Directory.names(node.paths.run + "/crun").isEmpty)
            #expect(Directory.names(node.paths.log + "/pods").isEmpty)
            #expect(!MountPoint.all().contains { $0.hasPrefix(node.paths.run + "/") })
            for tree in [""] + Directory.names(CgroupHost.root) {
                #expect(
                    !Directory.exists("\(CgroupHost.root)/\(tree)\(node.cgroupRoot)/kubepods/besteffort/podt-delete"))
            }
        }
    }

    @Test("a container that ignores its signal is killed at the end of the grace period")
    func stubborn() async throws {
        try await TestNode.with { node in
            try await node.apply(
                script(
                    "trap '' TERM; touch /tmp/up; while :; do sleep 0.01; done", uid: "t-stubborn",
                    container: ["readinessProbe": ["exec": ["command": ["test", "-e", "/tmp/up"]]]]))
            try await node.status("t-stubborn", "readiness") { $0.isReady }
            let pid = try #require(process(of: node, "t-stubborn"))
            let started = MonotonicTime.now()
            try await node.delete("t-stubborn", grace: 1)
            try await node.until("the confirmation") { node.server.isConfirmed("t-stubborn") }
            #expect(MonotonicTime.now().duration(since: started) >= .seconds(1))
            #expect(kill(pid, 0) != 0)
        }
    }

    @Test("a command that does not exist shows why in the pod's status, and the pod can still be deleted")
    func missingCommand() async throws {
        try await TestNode.with { node in
            try await node.apply(
                PodFixture.pod(
                    uid: "t-nocmd", containers: [PodFixture.container("main", ["command": ["/no/such/thing"]])]))
            let status = try await node.status("t-nocmd", "the reason") {
                $0.container?["state"]?["waiting"]?["reason"]?.string == "CrashLoopBackOff"
            }
            let last = status.container?["lastState"]?["terminated"]
            #expect(last?["reason"]?.string == "StartError")
            #expect(last?["message"]?.string?.contains("/no/such/thing") == true)
            #expect(node.server.events.contains { $0.hasPrefix("Failed: Error: ") && $0.contains("/no/such/thing") })
            try await node.delete("t-nocmd", grace: 0)
            try await node.until("the confirmation") { node.server.isConfirmed("t-nocmd") }
        }
    }

    @Test("a container that takes more memory than its limit is said to be killed for it")
    func outOfMemory() async throws {
        try await TestNode.with { node in
            try await node.apply(
                script(
                    "x=aaaaaaaa; while :; do x=$x$x; done", uid: "t-memory",
                    container: ["resources": ["limits": ["memory": "20Mi"]]], spec: ["restartPolicy": "Never"]))
            let status = try await node.status("t-memory", "the end") { $0["phase"]?.string == "Failed" }
            let terminated = status.container?["state"]?["terminated"]
            #expect(terminated?["reason"]?.string == "OOMKilled")
            #expect(terminated?["exitCode"]?.int == 137)
        }
    }

    @Test("an unknown image shows that nothing can be pulled")
    func unknownImage() async throws {
        try await TestNode.with { node in
            try await node.apply(
                PodFixture.pod(uid: "t-image", containers: [PodFixture.container("main", ["image": "nginx:1.27"])]))
            let status = try await node.status("t-image", "the reason") {
                $0.container?["state"]?["waiting"]?["reason"]?.string == "ImagePullBackOff"
            }
            #expect(status["phase"]?.string == "Pending")
            #expect(
                status.container?["state"]?["waiting"]?["message"]?.string?.contains("does not pull from registries")
                    == true)
        }
    }

    @Test("a ConfigMap that comes later lets the container start, with its keys as variables and files")
    func configMap() async throws {
        try await TestNode.with { node in
            let pod = script(
                "echo $COLOR; cat /config/shape; cat /token/token; exec sleep 100", uid: "t-config",
                container: [
                    "envFrom": [["configMapRef": ["name": "settings"]]],
                    "volumeMounts": [
                        ["name": "config", "mountPath": "/config"], ["name": "token", "mountPath": "/token"],
                    ],
                ],
                spec: [
                    "volumes": [
                        ["name": "config", "configMap": ["name": "settings"]],
                        ["name": "token", "projected": ["sources": [["serviceAccountToken": ["path": "token"]]]]],
                    ]
                ])
            try await node.apply(pod)
            try await node.until("the event") { node.server.events.contains { $0.hasPrefix("FailedMount") } }
            #expect(node.server.status("t-config")?["phase"]?.string == "Pending")
            node.server.putConfigMap("settings", ["COLOR": "blue", "shape": "round\n"])
            try await node.status("t-config", "readiness") { $0.isReady }
            let log = node.paths.logFile(try PodSpec(pod: pod).identity, "main", attempt: 0)
            try await node.until("the log") {
                let text = (try? Files.readText(log)) ?? ""
                return text.contains("F blue") && text.contains("F round") && text.contains("token-of-web")
            }
        }
    }

    @Test("pods wait while the network is not ready, and say so")
    func networkNotReady() async throws {
        try await TestNode.with { node in
            node.server.setNetworkProblem("no pod prefix yet")
            try await node.apply(script("exec sleep 100", uid: "t-network"))
            try await node.until("the event") {
                node.server.events.contains {
                    $0.contains("FailedCreatePodSandBox") && $0.contains("no pod prefix yet")
                }
            }
            node.server.setNetworkProblem(nil)
            try await node.status("t-network", "readiness") { $0.isReady }
        }
    }
}
