import Bytes
import JSON

@testable import PodRuntime

/// Pods as the API server would send them, with only what a test cares about.
enum PodFixture {
    static func pod(
        _ name: String = "web", namespace: String = "shop", uid: String = "0f0e",
        containers: [JSONValue] = [container()],
        spec: JSONValue = [:], metadata: JSONValue = [:]
    ) -> JSONValue {
        var json: JSONValue = [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": ["name": .string(name), "namespace": .string(namespace), "uid": .string(uid)],
            "spec": ["containers": .array(containers), "restartPolicy": "Always"],
        ]
        for (key, value) in metadata.object ?? [:] { json["metadata"]?[key] = value }
        for (key, value) in spec.object ?? [:] { json["spec"]?[key] = value }
        return json
    }

    static func container(_ name: String = "main", _ fields: JSONValue = [:]) -> JSONValue {
        var json: JSONValue = ["name": .string(name), "image": "weft.local/host", "command": ["/bin/true"]]
        for (key, value) in fields.object ?? [:] { json[key] = value }
        return json
    }

    static func spec(
        containers: [JSONValue] = [container()], spec: JSONValue = [:], metadata: JSONValue = [:]
    ) throws -> PodSpec {
        try PodSpec(pod: pod(containers: containers, spec: spec, metadata: metadata))
    }
}

/// Plays the node for a `PodLifecycle` in simulated time: steps succeed at once unless a test says otherwise.
struct SimulatedNode {
    var lifecycle: PodLifecycle
    var now: Timestamp
    /// Every step that was asked for, with the seconds since the start.
    private(set) var journal: [(at: Double, step: PodLifecycle.Step)] = []
    /// Start failures by container.
    var startFailures: [String: PodLifecycle.StartFailure] = [:]
    /// Containers that end by themselves: seconds after their start, and the code.
    var lifetimes: [String: (seconds: Double, code: Int32)] = [:]
    /// Containers that ignore their stop signal.
    var stubborn: Set<String> = []
    /// Answers of probes by kind, asked with the seconds since the container's start.
    var probe: (ProbeKind, Double) -> Bool = { _, _ in true }
    /// How long a hook takes; nil never ends.
    var hookSeconds: Double? = 0

    /// The sandbox that was made last.
    private(set) var sandbox: SandboxFacts?

    private static let start = Timestamp(seconds: 1_000_000, nanoseconds: 0)
    private var due: [(at: Timestamp, event: Event)] = []
    private var serial = 0

    private enum Event {
        case exit(String, code: Int32, signal: Int32, id: String)
        case hook(String, PodLifecycle.Hook, id: String)
    }

    init(_ spec: PodSpec) {
        now = Self.start
        lifecycle = PodLifecycle(spec: spec, state: PodState(startTime: Self.start))
    }

    var elapsed: Double { Self.seconds(now - Self.start) }
    var phase: PodStatus.Phase { PodStatus.phase(lifecycle) }

    static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    func state(_ name: String) -> ContainerState { lifecycle.state[name] }

    /// Seconds at which a container was asked to start.
    func starts(of name: String) -> [Double] {
        journal.compactMap { if case .start(name, _) = $0.step { $0.at } else { nil } }
    }

    func reports(_ reason: String) -> [String] {
        journal.compactMap {
            if case .report(let report) = $0.step, report.reason == reason { report.message } else { nil }
        }
    }

    func status() -> JSONValue { PodStatus.build(lifecycle, hostIPs: ["192.0.2.1"], previous: nil, now: now) }

    mutating func exit(_ name: String, code: Int32) {
        guard let running = state(name).running else { return }
        lifecycle.containerExited(name, code: code, finishedAt: now, id: running.id)
    }

    mutating func change(_ spec: PodSpec) { lifecycle.specChanged(spec) }

    /// Lets simulated time pass, doing what is asked for.
    mutating func run(for seconds: Double) {
        let end = now.adding(.nanoseconds(Int64(seconds * 1e9)))
        for _ in 0..<100_000 {
            let plan = lifecycle.next(now: now)
            if !plan.steps.isEmpty {
                for step in plan.steps { perform(step) }
                continue
            }
            due.sort { $0.at < $1.at }
            var moment = end
            if let wake = plan.wakeAt { moment = min(moment, wake) }
            if let first = due.first { moment = min(moment, first.at) }
            if moment >= end, !(due.first.map { $0.at <= end } ?? false) {
                now = end
                return
            }
            now = max(now, moment)
            while let first = due.first, first.at <= now {
                due.removeFirst()
                switch first.event {
                case .exit(let name, let code, let signal, let id):
                    lifecycle.containerExited(name, code: code, signal: signal, finishedAt: now, id: id)
                case .hook(let name, let hook, let id):
                    for report in lifecycle.hookFinished(name, hook, error: nil, id: id, now: now) {
                        note(.report(report))
                    }
                }
            }
        }
        fatalError("the pod never came to rest")
    }

    private mutating func note(_ step: PodLifecycle.Step) { journal.append((elapsed, step)) }

    private mutating func perform(_ step: PodLifecycle.Step) {
        note(step)
        switch step {
        case .createSandbox:
            let facts = SandboxFacts(
                id: "s", networkPath: "/n", ipcPath: "/i", utsPath: "/u", podIPs: ["10.244.1.5"], createdAt: now)
            sandbox = facts
            lifecycle.sandboxReady(facts)
        case .removeSandbox: lifecycle.sandboxRemoved()
        case .prepare: break
        case .start(let name, _):
            if let failure = startFailures[name] { return lifecycle.startFailed(name, failure, now: now) }
            serial += 1
            lifecycle.containerStarted(name, id: "c\(serial)", pid: Int32(serial), at: now)
            if let (seconds, code) = lifetimes[name] {
                due.append(
                    (
                        now.adding(.nanoseconds(Int64(seconds * 1e9))),
                        .exit(name, code: code, signal: 0, id: "c\(serial)")
                    ))
            }
        case .hook(let name, let hook, _):
            guard let seconds = hookSeconds, let id = state(name).running?.id else { return }
            due.append((now.adding(.nanoseconds(Int64(seconds * 1e9))), .hook(name, hook, id: id)))
        case .probe(let name, let kind, _):
            guard let running = state(name).running else { return }
            let success = probe(kind, Self.seconds(now - running.startedAt))
            let reports = lifecycle.probeAnswered(name, kind, success: success, output: "no", id: running.id, now: now)
            for report in reports { note(.report(report)) }
        case .signal(let name, let signal):
            guard let running = state(name).running else { return }
            if signal == .stop, stubborn.contains(name) { return }
            lifecycle.containerExited(
                name, code: signal == .kill ? 137 : 143, signal: signal == .kill ? 9 : 15, finishedAt: now,
                id: running.id)
        case .report: break
        }
    }
}

extension PodLifecycle.Step {
    var isRemoval: Bool { if case .removeSandbox = self { true } else { false } }
}
