import Bytes

/// Decides what is to be done next for one pod. Pure: the world comes in as events and as `now`, and goes out as steps.
///
/// `next` hands each step out once and remembers that it is under way; the agent performs it and answers with the event that fits.
/// Calling `next` again at any time is harmless, so whoever is in doubt calls it.
public struct PodLifecycle: Sendable {
    public internal(set) var spec: PodSpec
    public internal(set) var state: PodState
    /// False until the agent knows the API server's services and the network: nothing new starts, what runs is cared for.
    public var mayStart = true
    /// Containers that are, or were, made ahead of their first start in this sandbox.
    var prepared: Set<String> = []

    /// What the agent is to do.
    public enum Step: Sendable, Equatable {
        case createSandbox(attempt: Int64)
        /// Makes the container without starting it, in silence: its start follows when its turn comes, and makes it anew if this failed.
        case prepare(container: String)
        case start(container: String, attempt: Int64)
        case hook(container: String, Hook, ActionSpec)
        case probe(container: String, ProbeKind, ProbeSpec)
        case signal(container: String, Signal)
        case removeSandbox(SandboxFacts?)
        case report(Report)
    }

    public enum Hook: Sendable, Equatable { case postStart, preStop }
    public enum Signal: Sendable, Equatable {
        /// The container's own stop signal.
        case stop
        case kill
    }

    /// What users are told as an event.
    public struct Report: Sendable, Equatable {
        public var isWarning: Bool
        public var reason: String
        public var message: String
        public var container: String?
    }

    public struct Plan: Sendable, Equatable {
        public var steps: [Step] = []
        /// When to ask again if nothing happens before.
        public var wakeAt: Timestamp?

        mutating func wake(_ moment: Timestamp) { wakeAt = wakeAt.map { min($0, moment) } ?? moment }
    }

    /// How long a failed sandbox, image or configuration waits: 1 s, doubled to this.
    static let retryLimit: Duration = .seconds(10)
    /// After preStop, a container has at least this long between SIGTERM and SIGKILL.
    static let minimumAfterPreStop: Duration = .seconds(2)
    /// How long ErrImagePull stands in the status before it becomes ImagePullBackOff.
    static let errorShown: Duration = .seconds(1)
    /// SIGKILL is repeated this often while the kernel has not ended the process.
    static let killRepeat: Duration = .seconds(5)

    public init(spec: PodSpec, state: PodState) {
        self.spec = spec
        self.state = state
    }

    /// The container waits for init containers, of which it is none.
    func isInitializing(for container: ContainerSpec) -> Bool {
        !container.isInit && !spec.initContainers.isEmpty && !state.isInitialized
    }

    // MARK: Events

    public mutating func specChanged(_ spec: PodSpec) { self.spec = spec }

    public mutating func sandboxReady(_ facts: SandboxFacts) {
        state.sandbox = .ready(facts)
        state.sandboxFailures = 0
    }

    public mutating func sandboxFailed(_ message: String, now: Timestamp) {
        state.sandboxFailures += 1
        state.sandbox = .failed(message: message, retryAt: now.adding(Self.retryDelay(state.sandboxFailures)))
    }

    /// The pod's namespaces and processes are gone (the machine was started again).
    public mutating func sandboxLost(now: Timestamp) {
        for name in state.containers.keys {
            if let running = state[name].running {
                containerExited(
                    name, code: 255, reason: "Unknown", message: "the container was lost with its node's restart",
                    finishedAt: now, id: running.id)
            }
        }
        state.sandbox = .absent
        state.isInitialized = false
        prepared = []
    }

    public mutating func sandboxRemoved() {
        state.sandbox = .absent
        prepared = []
    }

    public mutating func containerStarted(_ name: String, id: String, pid: Int32, at now: Timestamp) {
        guard let container = spec.container(named: name) else { return }
        state[name].phase = .running(
            ContainerState.Running(
                id: id, pid: pid, startedAt: now, postStart: container.postStart == nil ? .done : .pending,
                probes: Self.probes(of: container, startedAt: now)))
        state[name].blockedCount = 0
        state[name].imageBackoff = RestartBackoff()
    }

    /// A container that an agent before this one started is cared for again; what its probes had found holds until they say otherwise.
    public mutating func resume(_ name: String, passed: [ProbeKind: Bool], now: Timestamp) {
        guard let container = spec.container(named: name) else { return }
        state[name].withRunning { running in
            for kind in ProbeKind.allCases {
                if let probe = container.probe(kind) {
                    running.probes[kind] = ProbeProgress(kind, probe, startedAt: now, passes: passed[kind])
                }
            }
        }
    }

    static func probes(of container: ContainerSpec, startedAt: Timestamp) -> [ProbeKind: ProbeProgress] {
        var probes: [ProbeKind: ProbeProgress] = [:]
        for kind in ProbeKind.allCases {
            if let spec = container.probe(kind) { probes[kind] = ProbeProgress(kind, spec, startedAt: startedAt) }
        }
        return probes
    }

    public enum StartFailure: Sendable, Equatable {
        /// The image cannot be had: the waiting reason (`ErrImagePull`, `InvalidImageName`, …) and why.
        case image(reason: String, message: String)
        /// Something that the container's configuration names does not exist (yet).
        case configuration(String)
        /// A volume cannot be given to the pod (yet): the container goes on to show ContainerCreating.
        case volume(String)
        /// The node could not prepare the container.
        case preparation(String)
        /// The runtime could not start the container's command: counts as a run that ended with 128.
        case command(String)
    }

    public mutating func startFailed(_ name: String, _ failure: StartFailure, now: Timestamp) {
        switch failure {
        case .image(let reason, let message):
            state[name].imageBackoff.raise(at: now)
            // Shown for a moment as what it is, then as the wait that follows.
            state[name].phase = .blocked(reason: reason, message: message, retryAt: now.adding(Self.errorShown))
        case .configuration(let message), .preparation(let message), .volume(let message):
            state[name].blockedCount += 1
            let reason =
                switch failure {
                case .preparation: "CreateContainerError"
                case .volume: "ContainerCreating"
                default: "CreateContainerConfigError"
                }
            state[name].phase = .blocked(
                reason: reason, message: message, retryAt: now.adding(Self.retryDelay(state[name].blockedCount)))
        case .command(let message):
            let exit = ContainerState.Exit(
                id: "", code: 128, reason: "StartError", message: message,
                startedAt: Timestamp(seconds: 0, nanoseconds: 0), finishedAt: now)
            state[name].phase = .exited(exit)
        }
    }

    public mutating func containerExited(
        _ name: String, code: Int32, signal: Int32 = 0, reason: String? = nil, message: String = "",
        finishedAt: Timestamp, id: String
    ) {
        guard let running = state[name].running, running.id == id else { return }
        state[name].phase = .exited(
            ContainerState.Exit(
                id: id, code: code, signal: signal, reason: reason ?? (code == 0 ? "Completed" : "Error"),
                message: message, startedAt: running.startedAt, finishedAt: finishedAt))
    }

    /// - Returns: what to tell users about this answer.
    public mutating func probeAnswered(
        _ name: String, _ kind: ProbeKind, success: Bool, output: String, id: String, now: Timestamp
    ) -> [Report] {
        guard let container = spec.container(named: name), let probe = container.probe(kind),
            var running = state[name].running,
            running.id == id, var progress = running.probes[kind]
        else { return [] }
        let counts = progress.answered(success, probe, now: now)
        running.probes[kind] = progress
        var reports: [Report] = []
        if counts {
            reports.append(
                Report(
                    isWarning: true, reason: "Unhealthy", message: "\(kind.rawValue) probe failed: \(output)",
                    container: name))
        }
        let exhausted = !success && progress.failures >= probe.failureThreshold
        if exhausted, kind != .readiness, running.stop == nil {
            reports.append(
                Report(
                    isWarning: false, reason: "Killing",
                    message: "Container \(name) failed \(kind.rawValue.lowercased()) probe, will be restarted",
                    container: name))
            running.stop = ContainerState.Stop(
                deadline: now.adding(seconds: probe.terminationGracePeriod ?? spec.terminationGracePeriod),
                preStop: container.preStop == nil ? .done : .pending, isPodStopping: false)
        }
        state[name].phase = .running(running)
        return reports
    }

    public mutating func hookFinished(_ name: String, _ hook: Hook, error: String?, id: String, now: Timestamp)
        -> [Report]
    {
        guard let container = spec.container(named: name), let running = state[name].running, running.id == id else {
            return []
        }
        switch hook {
        case .postStart:
            state[name].withRunning { running in
                running.postStart = .done
                for kind in running.probes.keys {
                    // Probing starts when the hook is over.
                    if let probe = container.probe(kind) {
                        running.probes[kind] = ProbeProgress(kind, probe, startedAt: now)
                    }
                }
                if error != nil, running.stop == nil {
                    running.stop = ContainerState.Stop(
                        deadline: now.adding(seconds: spec.terminationGracePeriod), preStop: .done, isPodStopping: false
                    )
                }
            }
            guard let error else { return [] }
            return [
                Report(
                    isWarning: true, reason: "FailedPostStartHook", message: "PostStartHook failed: \(error)",
                    container: name)
            ]
        case .preStop:
            state[name].withRunning { $0.stop?.preStop = .done }
            guard let error else { return [] }
            return [
                Report(
                    isWarning: true, reason: "FailedPreStopHook", message: "PreStopHook failed: \(error)",
                    container: name)
            ]
        }
    }

    /// The pod is to end for a reason of the node's (`Evicted`, …).
    public mutating func endPod(reason: String, message: String) {
        if state.end == nil { state.end = PodState.End(reason: reason, message: message) }
    }
}

extension ContainerSpec {
    func probe(_ kind: ProbeKind) -> ProbeSpec? {
        // Init containers that run to their end have no health to ask for.
        if isInit && !isSidecar { return nil }
        return switch kind {
        case .startup: startup
        case .readiness: readiness
        case .liveness: liveness
        }
    }
}
