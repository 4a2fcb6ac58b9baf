import Bytes
import JSON
import Testing

@testable import PodRuntime

@Suite("the life of a pod")
struct PodLifecycleTests {
    private func node(_ spec: JSONValue = [:], containers: [JSONValue] = [PodFixture.container()]) throws
        -> SimulatedNode
    {
        SimulatedNode(try PodFixture.spec(containers: containers, spec: spec))
    }

    private func deleted(_ pod: JSONValue, grace: Int64) throws -> PodSpec {
        var pod = pod
        pod["metadata"]?["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        pod["metadata"]?["deletionGracePeriodSeconds"] = .int(grace)
        var spec = try PodSpec(pod: pod)
        spec.deletion = PodSpec.Deletion(requestedAt: Timestamp(seconds: 0, nanoseconds: 0), gracePeriod: grace)
        return spec
    }

    @Test("a sandbox comes first, then the containers, and the pod is ready")
    func becomesReady() throws {
        var node = try node(containers: [PodFixture.container("a"), PodFixture.container("b")])
        #expect(node.phase == .pending)
        node.run(for: 1)
        #expect(node.phase == .running)
        #expect(node.journal.map(\.step).first == .createSandbox(attempt: 0))
        let status = node.status()
        #expect(status["podIP"]?.string == "10.244.1.5")
        #expect(status.condition("Ready")?["status"]?.string == "True")
        #expect(status.condition("PodReadyToStartContainers")?["status"]?.string == "True")
    }

    @Test("a container that keeps failing waits 10 s, 20 s, … 5 min between its runs, and not before the first restart")
    func crashLoop() throws {
        var node = try node()
        node.lifetimes["main"] = (0, 1)
        node.run(for: 1500)
        let starts = node.starts(of: "main")
        let waits = zip(starts, starts.dropFirst()).map { $1 - $0 }
        #expect(Array(waits.prefix(9)) == [0, 10, 20, 40, 80, 160, 300, 300, 300])
        let status = node.status()["containerStatuses"]?.array?.first
        #expect(status?["state"]?["waiting"]?["reason"]?.string == "CrashLoopBackOff")
        #expect(
            status?["state"]?["waiting"]?["message"]?.string
                == "back-off 5m0s restarting failed container=main pod=web_shop(0f0e)")
        #expect(status?["lastState"]?["terminated"]?["exitCode"]?.int == 1)
        #expect(status?["restartCount"]?.int == Int64(starts.count - 1))
        #expect(node.phase == .running)
    }

    @Test("ten good minutes bring the back-off to its beginning")
    func backoffResets() throws {
        var node = try node()
        node.lifetimes["main"] = (0, 1)
        node.run(for: 65)
        node.lifetimes["main"] = (700, 1)
        node.run(for: 1000)
        node.lifetimes["main"] = (0, 1)
        let before = node.starts(of: "main").count
        node.run(for: 700)
        let starts = Array(node.starts(of: "main")[(before - 1)...])
        #expect(zip(starts, starts.dropFirst()).map { $1 - $0 }.dropFirst().first == 10)
    }

    @Test(
        "the restart policy decides what becomes of a pod whose containers ended",
        arguments: [
            ("Always", 0, 2, PodStatus.Phase.running), ("Always", 1, 2, .running), ("OnFailure", 0, 1, .succeeded),
            ("OnFailure", 1, 2, .running), ("Never", 0, 1, .succeeded), ("Never", 1, 1, .failed),
        ] as [(String, Int32, Int, PodStatus.Phase)])
    func restartPolicy(policy: String, code: Int32, starts: Int, phase: PodStatus.Phase) throws {
        var node = try node(["restartPolicy": .string(policy)])
        node.lifetimes["main"] = (1, code)
        node.run(for: 1.5)
        #expect(node.starts(of: "main").count == starts)
        #expect(node.phase == phase)
    }

    @Test("a finished pod gives its sandbox back and says how it ended")
    func finished() throws {
        var node = try node(["restartPolicy": "Never"])
        node.lifetimes["main"] = (1, 0)
        node.run(for: 3)
        #expect(node.journal.last?.step.isRemoval == true)
        #expect(node.lifecycle.isGone)
        let status = node.status()
        #expect(status.condition("Ready")?["reason"]?.string == "PodCompleted")
        #expect(status.condition("Initialized")?["status"]?.string == "True")
        #expect(status["containerStatuses"]?.array?.first?["state"]?["terminated"]?["reason"]?.string == "Completed")
    }

    @Test("init containers run one after the other and each must succeed")
    func initContainers() throws {
        var node = try node(["initContainers": [PodFixture.container("one"), PodFixture.container("two")]])
        node.lifetimes = ["one": (2, 0), "two": (3, 0)]
        node.run(for: 1)
        let early = node.status()
        #expect(node.phase == .pending)
        #expect(early.condition("Initialized")?["message"]?.string == "containers with incomplete status: [one two]")
        #expect(early["containerStatuses"]?.array?.first?["state"]?["waiting"]?["reason"]?.string == "PodInitializing")
        node.run(for: 9)
        #expect(node.starts(of: "one") == [0])
        #expect(node.starts(of: "two") == [2])
        #expect(node.starts(of: "main") == [5])
        #expect(node.phase == .running)
    }

    @Test("an init container that fails for good fails the pod, and is retried otherwise")
    func initFailure() throws {
        var never = try node(["restartPolicy": "Never", "initContainers": [PodFixture.container("one")]])
        never.lifetimes["one"] = (1, 7)
        never.run(for: 5)
        #expect(never.phase == .failed)
        #expect(never.starts(of: "main").isEmpty)
        var always = try node(["initContainers": [PodFixture.container("one")]])
        always.lifetimes["one"] = (1, 7)
        always.run(for: 5)
        #expect(always.phase == .pending)
        #expect(always.starts(of: "one") == [0, 1])
    }

    @Test("a sidecar starts before what follows it, counts for readiness, and is stopped last")
    func sidecars() throws {
        let sidecar = PodFixture.container(
            "proxy",
            [
                "restartPolicy": "Always",
                "startupProbe": ["exec": ["command": ["x"]], "periodSeconds": 1, "failureThreshold": 10],
            ])
        let pod = PodFixture.pod(
            containers: [PodFixture.container("main")],
            spec: ["initContainers": [sidecar, PodFixture.container("setup")]])
        var node = SimulatedNode(try PodSpec(pod: pod))
        node.lifetimes["setup"] = (1, 0)
        node.probe = { kind, age in kind != .startup || age >= 4 }
        node.run(for: 20)
        #expect(node.starts(of: "proxy") == [0])
        #expect(node.starts(of: "setup").first.map { $0 >= 4 } ?? false)
        #expect(node.status().condition("Ready")?["status"]?.string == "True")
        node.stubborn = ["main"]
        node.change(try deleted(pod, grace: 10))
        node.run(for: 30)
        let stops = node.journal.compactMap { entry -> (String, Double)? in
            if case .signal(let name, .stop) = entry.step { (name, entry.at) } else { nil }
        }
        #expect(stops.first?.0 == "main")
        #expect(node.lifecycle.isGone)
        // The grace period was used up by main, so the sidecar got no more than a kill.
        let kills = node.journal.compactMap { entry in
            if case .signal(let name, .kill) = entry.step { name } else { nil }
        }
        #expect(kills == ["main", "proxy"])
    }

    @Test("what comes after a sidecar is made once while it becomes ready, and not before it runs")
    func preparation() throws {
        let probe: JSONValue = ["exec": ["command": ["x"]], "periodSeconds": 1, "failureThreshold": 100]
        let sidecar = { PodFixture.container($0, ["restartPolicy": "Always", "startupProbe": probe]) }
        var node = try node(
            ["initContainers": [sidecar("proxy"), PodFixture.container("setup"), sidecar("agent")]],
            containers: [PodFixture.container("a"), PodFixture.container("b")])
        node.lifetimes["setup"] = (1, 0)
        node.probe = { _, age in age >= 4 }
        let made: (SimulatedNode) -> [String] = { node in
            node.journal.compactMap { entry in
                switch entry.step {
                case .prepare(let name): "\(name) made"
                case .start(let name, _): name
                default: nil
                }
            }
        }
        node.run(for: 3)
        #expect(made(node) == ["proxy", "setup made"])
        let waiting = node.status()["containerStatuses"]?.array?.first?["state"]?["waiting"]
        #expect(waiting?["reason"] == "PodInitializing")
        node.run(for: 20)
        #expect(made(node) == ["proxy", "setup made", "setup", "agent", "a made", "b made", "a", "b"])
        #expect(node.status().condition("Ready")?["status"]?.string == "True")
    }

    @Test("deletion runs preStop, then SIGTERM, then SIGKILL when the grace period is over")
    func termination() throws {
        let pod = PodFixture.pod(containers: [
            PodFixture.container("main", ["lifecycle": ["preStop": ["exec": ["command": ["bye"]]]]])
        ])
        var node = SimulatedNode(try PodSpec(pod: pod))
        node.run(for: 1)
        node.hookSeconds = 3
        node.stubborn = ["main"]
        node.change(try deleted(pod, grace: 10))
        node.run(for: 20)
        let steps = node.journal.drop { $0.at < 1 }.filter { if case .report = $0.step { false } else { true } }
        #expect(
            steps.map(\.step) == [
                .hook(container: "main", .preStop, .exec(["bye"])), .signal(container: "main", .stop),
                .signal(container: "main", .kill), .removeSandbox(node.sandbox),
            ])
        #expect(steps.map(\.at) == [1, 4, 11, 11])
        #expect(node.lifecycle.isGone)
        #expect(node.phase == .failed)
        #expect(node.reports("Killing") == ["Stopping container main"])
    }

    @Test("a preStop that never ends is cut at the grace period, and SIGTERM still has two seconds")
    func hangingPreStop() throws {
        let pod = PodFixture.pod(containers: [
            PodFixture.container("main", ["lifecycle": ["preStop": ["exec": ["command": ["bye"]]]]])
        ])
        var node = SimulatedNode(try PodSpec(pod: pod))
        node.run(for: 1)
        node.hookSeconds = nil
        node.stubborn = ["main"]
        node.change(try deleted(pod, grace: 5))
        node.run(for: 20)
        let signals = node.journal.filter { if case .signal = $0.step { true } else { false } }
        #expect(signals.map(\.step) == [.signal(container: "main", .stop), .signal(container: "main", .kill)])
        #expect(signals.map(\.at) == [6, 8])
    }

    @Test("a second delete with a shorter grace period shortens the first")
    func shorterGrace() throws {
        let pod = PodFixture.pod()
        var node = SimulatedNode(try PodSpec(pod: pod))
        node.stubborn = ["main"]
        node.run(for: 1)
        node.change(try deleted(pod, grace: 30))
        node.run(for: 4)
        #expect(!node.lifecycle.isGone)
        node.change(try deleted(pod, grace: 0))
        node.run(for: 1)
        #expect(node.lifecycle.isGone)
    }

    @Test("a pod that is deleted before anything ran is gone at once")
    func deletedEarly() throws {
        var node = SimulatedNode(try deleted(PodFixture.pod(), grace: 30))
        node.run(for: 0)
        #expect(node.lifecycle.isGone)
        #expect(node.journal.isEmpty)
        #expect(node.phase == .failed)
    }

    @Test("readiness follows its thresholds and is found early")
    func readiness() throws {
        let probe: JSONValue = ["tcpSocket": ["port": 80], "periodSeconds": 10, "failureThreshold": 2]
        var node = try node(containers: [PodFixture.container("main", ["readinessProbe": probe])])
        node.probe = { _, age in age >= 0.3 && age < 100 }
        node.run(for: 0.2)
        #expect(node.status().condition("Ready")?["message"]?.string == "containers with unready status: [main]")
        node.run(for: 0.6)
        #expect(node.status().condition("Ready")?["status"]?.string == "True")
        node.run(for: 105)
        #expect(node.status().condition("Ready")?["status"]?.string == "True")
        node.run(for: 10)
        #expect(node.status().condition("Ready")?["status"]?.string == "False")
        #expect(node.starts(of: "main").count == 1)
    }

    @Test("a failing liveness probe restarts the container, at its threshold and not before")
    func liveness() throws {
        let probe: JSONValue = ["tcpSocket": ["port": 80], "periodSeconds": 5, "failureThreshold": 3]
        var node = try node(containers: [PodFixture.container("main", ["livenessProbe": probe])])
        node.probe = { _, age in age < 7 }
        node.run(for: 19)
        #expect(node.starts(of: "main").count == 1)
        node.run(for: 2)
        #expect(node.starts(of: "main").count == 2)
        #expect(node.reports("Unhealthy").count == 3)
        #expect(node.reports("Killing") == ["Container main failed liveness probe, will be restarted"])
    }

    @Test("a startup probe holds the others back, and its failures count once a period however often it is asked")
    func startup() throws {
        let container = PodFixture.container(
            "main",
            [
                "startupProbe": ["tcpSocket": ["port": 80], "periodSeconds": 2, "failureThreshold": 5],
                "livenessProbe": ["tcpSocket": ["port": 80], "periodSeconds": 1, "failureThreshold": 1],
            ])
        var slow = try node(containers: [container])
        slow.probe = { _, age in age >= 7 }
        slow.run(for: 30)
        #expect(slow.starts(of: "main").count == 1)
        #expect(slow.status()["containerStatuses"]?.array?.first?["started"]?.bool == true)
        var dead = try node(containers: [container])
        dead.probe = { _, _ in false }
        dead.run(for: 9)
        #expect(dead.starts(of: "main").count == 2)
    }

    @Test("an image that cannot be had shows ErrImagePull, then ImagePullBackOff, and is tried again")
    func image() throws {
        var node = try node()
        node.startFailures["main"] = .image(reason: "ErrImagePull", message: "no registry pulls")
        node.run(for: 0.5)
        func reason(_ node: SimulatedNode) -> String? {
            node.status()["containerStatuses"]?.array?.first?["state"]?["waiting"]?["reason"]?.string
        }
        #expect(reason(node) == "ErrImagePull")
        node.run(for: 2)
        #expect(reason(node) == "ImagePullBackOff")
        #expect(node.phase == .pending)
        node.run(for: 60)
        #expect(node.starts(of: "main") == [0, 10, 30])
        #expect(node.state("main").restartCount == 0)
        node.startFailures = [:]
        node.run(for: 60)
        #expect(node.phase == .running)
    }

    @Test("a command that does not exist is a start error, counted and backed off like a crash")
    func startError() throws {
        var node = try node()
        node.startFailures["main"] = .command("executable file not found")
        node.run(for: 15)
        let status = node.status()["containerStatuses"]?.array?.first
        #expect(status?["state"]?["waiting"]?["reason"]?.string == "CrashLoopBackOff")
        #expect(status?["lastState"]?["terminated"]?["reason"]?.string == "StartError")
        #expect(status?["lastState"]?["terminated"]?["exitCode"]?.int == 128)
        #expect(node.starts(of: "main") == [0, 0, 10])
        #expect(node.phase == .pending)
    }

    @Test("a container whose configuration is missing waits without a restart and starts when it is there")
    func configuration() throws {
        var node = try node()
        node.startFailures["main"] = .configuration("configmap \"x\" not found")
        node.run(for: 20)
        #expect(
            node.status()["containerStatuses"]?.array?.first?["state"]?["waiting"]?["reason"]?.string
                == "CreateContainerConfigError")
        #expect(node.starts(of: "main") == [0, 1, 3, 7, 15])
        node.startFailures = [:]
        node.run(for: 11)
        #expect(node.phase == .running)
        #expect(node.state("main").restartCount == 0)
    }

    @Test("postStart holds back the next container and readiness")
    func postStart() throws {
        var node = try node(containers: [
            PodFixture.container("a", ["lifecycle": ["postStart": ["exec": ["command": ["x"]]]]]),
            PodFixture.container("b"),
        ])
        node.hookSeconds = 4
        node.run(for: 2)
        #expect(node.starts(of: "b").isEmpty)
        #expect(node.status().condition("Ready")?["status"]?.string == "False")
        node.run(for: 4)
        #expect(node.starts(of: "b") == [4])
        #expect(node.status().condition("Ready")?["status"]?.string == "True")
    }

    @Test("a pod past its active deadline fails with that reason")
    func deadline() throws {
        var node = try node(["activeDeadlineSeconds": 5])
        node.run(for: 10)
        #expect(node.phase == .failed)
        #expect(node.status()["reason"]?.string == "DeadlineExceeded")
        #expect(node.lifecycle.isGone)
    }

    @Test("a checkpoint gives back what matters and nothing that was under way")
    func checkpoint() throws {
        let probe: JSONValue = ["tcpSocket": ["port": 80]]
        let pod = PodFixture.pod(
            containers: [PodFixture.container("main", ["readinessProbe": probe]), PodFixture.container("bad")],
            spec: ["terminationGracePeriodSeconds": 7])
        var node = SimulatedNode(try PodSpec(pod: pod))
        node.lifetimes["bad"] = (1, 3)
        node.run(for: 14)
        let json = PodCheckpoint.encode(node.lifecycle.state, pod: pod)
        let (state, saved) = try #require(PodCheckpoint.decode(json))
        #expect(saved == pod)
        #expect(state.sandbox == node.lifecycle.state.sandbox)
        #expect(state["bad"].restartCount == node.state("bad").restartCount)
        #expect(state["bad"].restartBackoff == node.state("bad").restartBackoff)
        #expect(state["main"].running?.id == node.state("main").running?.id)
        #expect(PodCheckpoint.passedProbes(json, container: "main") == [.readiness: true])
        #expect(PodCheckpoint.decode([:]) == nil)
        #expect(PodCheckpoint.decode(["version": 2, "pod": pod, "startTime": [1, 2]]) == nil)
    }

    @Test(
        "names that would climb out of the pod's folder are refused",
        arguments: ["..", ".", "a/b", "", "a b", "x\u{0}y"])
    func unsafeNames(name: String) throws {
        #expect(throws: PodSpecError.self) { try PodSpec(pod: PodFixture.pod(uid: name)) }
        #expect(throws: PodSpecError.self) {
            try PodSpec(pod: PodFixture.pod(containers: [PodFixture.container(name)]))
        }
    }
}

extension JSONValue {
    func condition(_ type: String) -> JSONValue? {
        self["conditions"]?.array?.first { $0["type"]?.string == type }
    }
}
