import Bytes

/// The decisions: what is to be done now, given what happened so far.
extension PodLifecycle {
    public mutating func next(now: Timestamp) -> Plan {
        var plan = Plan()
        if state.end == nil, let limit = spec.activeDeadline, !isFinished {
            let due = state.startTime.adding(seconds: limit)
            if now >= due {
                state.end = PodState.End(
                    reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline"
                )
                plan.steps.append(
                    .report(
                        Report(
                            isWarning: false, reason: "DeadlineExceeded",
                            message: "Pod was active on the node longer than the specified deadline", container: nil)))
            } else {
                plan.wake(due)
            }
        }
        beginTermination(now: now)
        if let termination = state.termination {
            terminate(termination, now: now, into: &plan)
        } else {
            run(now: now, into: &plan)
        }
        for name in state.containers.keys.sorted() { advanceStop(of: name, now: now, into: &plan) }
        return plan
    }

    /// All containers have ended and none will start again; the phase is Succeeded or Failed.
    public var isFinished: Bool {
        if state.hasActiveContainers { return false }
        if state.end != nil || spec.deletion != nil { return true }
        if failedInit != nil { return true }
        return state.isInitialized && spec.containers.allSatisfy { hasEndedForGood($0) }
    }

    /// Nothing of the pod is left on the node but its logs and its memory.
    public var isGone: Bool {
        isFinished && state.sandbox == .absent && state.termination != nil
    }

    /// An init container that failed and is not tried again: the pod has failed.
    private var failedInit: ContainerSpec? {
        spec.initContainers.first { container in
            guard !container.isSidecar, let exit = state[container.name].exit else { return false }
            return exit.code != 0 && !policy(of: container).restarts(afterExit: exit.code)
        }
    }

    /// Whether an ended container is started again by its restart policy.
    func willRestart(_ container: ContainerSpec) -> Bool {
        guard let exit = state[container.name].exit else { return false }
        return policy(of: container).restarts(afterExit: exit.code)
    }

    private func hasEndedForGood(_ container: ContainerSpec) -> Bool {
        guard let exit = state[container.name].exit else { return false }
        return !policy(of: container).restarts(afterExit: exit.code)
    }

    private func policy(of container: ContainerSpec) -> RestartPolicy {
        if let own = container.restartPolicy { return own }
        // An init container that succeeded is not run again, whatever the pod's policy.
        if container.isInit, spec.restartPolicy == .always { return .onFailure }
        return spec.restartPolicy
    }

    private mutating func beginTermination(now: Timestamp) {
        let grace: Int64
        if let deletion = spec.deletion {
            grace = deletion.gracePeriod
        } else if state.end != nil || failedInit != nil
            || (state.isInitialized && spec.containers.allSatisfy { hasEndedForGood($0) })
        {
            grace = spec.terminationGracePeriod
        } else {
            return
        }
        if state.termination == nil {
            state.termination = PodState.Termination(startedAt: now, gracePeriod: grace)
        } else if let current = state.termination, grace < current.gracePeriod {
            // A second delete may shorten the time, never lengthen it.
            state.termination?.gracePeriod = grace
            for name in state.containers.keys {
                state[name].withRunning { running in
                    guard let stop = running.stop else { return }
                    running.stop?.deadline = min(stop.deadline, max(now, current.startedAt.adding(seconds: grace)))
                }
            }
        }
    }

    // MARK: Stopping the pod

    private mutating func terminate(_ termination: PodState.Termination, now: Timestamp, into plan: inout Plan) {
        // Sidecars serve the others, so they go last, in reverse order (KEP-753).
        let sidecars = spec.sidecars.map(\.name)
        let others = state.containers.keys.filter { !sidecars.contains($0) }.sorted()
        for name in others { beginStop(of: name, termination, now: now, into: &plan) }
        if !others.contains(where: { state[$0].isActive }) {
            for name in sidecars.reversed() {
                beginStop(of: name, termination, now: now, into: &plan)
                if state[name].isActive { break }
            }
        }
        guard !state.hasActiveContainers else { return }
        switch state.sandbox {
        case .ready, .failed:
            let facts = state.sandboxFacts
            state.sandbox = .removing(facts)
            plan.steps.append(.removeSandbox(facts))
        case .absent, .creating, .removing: break
        }
    }

    private mutating func beginStop(
        of name: String, _ termination: PodState.Termination, now: Timestamp, into plan: inout Plan
    ) {
        guard let running = state[name].running else { return }
        if running.stop?.isPodStopping == true { return }
        let hasHook = spec.container(named: name)?.preStop != nil && termination.gracePeriod > 0
        plan.steps.append(
            .report(
                Report(isWarning: false, reason: "Killing", message: "Stopping container \(name)", container: name)))
        state[name].withRunning { running in
            var stop =
                running.stop
                ?? ContainerState.Stop(
                    deadline: termination.deadline, preStop: hasHook ? .pending : .done, isPodStopping: true)
            stop.isPodStopping = true
            stop.deadline = min(stop.deadline, termination.deadline)
            running.stop = stop
        }
    }

    private mutating func advanceStop(of name: String, now: Timestamp, into plan: inout Plan) {
        guard let container = spec.container(named: name), let running = state[name].running, var stop = running.stop
        else {
            return
        }
        if stop.preStop == .pending, now < stop.deadline, let action = container.preStop {
            stop.preStop = .running
            plan.steps.append(.hook(container: name, .preStop, action))
        }
        if !stop.isTerminated, stop.preStop == .done || now >= stop.deadline {
            stop.isTerminated = true
            if container.preStop != nil { stop.deadline = max(stop.deadline, now.adding(Self.minimumAfterPreStop)) }
            // A grace period of nothing means no SIGTERM at all.
            if now < stop.deadline { plan.steps.append(.signal(container: name, .stop)) }
        }
        if stop.isTerminated, now >= stop.deadline {
            stop.isKilled = true
            stop.deadline = now.adding(Self.killRepeat)
            plan.steps.append(.signal(container: name, .kill))
        }
        plan.wake(stop.deadline)
        state[name].withRunning { $0.stop = stop }
    }

    // MARK: Running the pod

    private mutating func run(now: Timestamp, into plan: inout Plan) {
        switch state.sandbox {
        case .absent:
            guard mayStart else { return }
            createSandbox(into: &plan)
            return
        case .failed(_, let retryAt):
            guard mayStart else { return }
            guard now >= retryAt else { return plan.wake(retryAt) }
            createSandbox(into: &plan)
            return
        case .creating, .removing:
            return
        case .ready: break
        }
        runInitContainers(now: now, into: &plan)
        if state.isInitialized {
            for container in spec.containers {
                restartIfDue(container, now: now, into: &plan)
                // One after the other, and postStart blocks the next: the order is promised to users.
                if case .starting = state[container.name].phase { break }
                if let running = state[container.name].running, running.postStart != .done {
                    advance(container, now: now, into: &plan)
                    break
                }
            }
        }
        for container in spec.initContainers + spec.containers { advance(container, now: now, into: &plan) }
    }

    private mutating func createSandbox(into plan: inout Plan) {
        state.sandbox = .creating
        plan.steps.append(.createSandbox(attempt: state.sandboxAttempt))
        state.sandboxAttempt += 1
    }

    private mutating func runInitContainers(now: Timestamp, into plan: inout Plan) {
        for (index, container) in spec.initContainers.enumerated() {
            if container.isSidecar {
                restartIfDue(container, now: now, into: &plan)
                if state.isInitialized { continue }
                guard let running = state[container.name].running else { return }
                guard running.isStarted else { return prepare(after: index, into: &plan) }
            } else {
                if state.isInitialized { continue }
                if let exit = state[container.name].exit, exit.code == 0 { continue }
                restartIfDue(container, now: now, into: &plan)
                return
            }
        }
        state.isInitialized = true
    }

    /// While a sidecar becomes ready, what comes after it is made: the next init container, or else the pod's own containers.
    private mutating func prepare(after index: Int, into plan: inout Plan) {
        guard mayStart else { return }
        let next = spec.initContainers[(index + 1)...].first { state[$0.name].exit?.code != 0 }
        for container in next.map({ [$0] }) ?? spec.containers
        where state[container.name].phase == .idle && prepared.insert(container.name).inserted {
            plan.steps.append(.prepare(container: container.name))
        }
    }

    /// Starts a container that is not running and should be, unless it must wait longer.
    private mutating func restartIfDue(_ container: ContainerSpec, now: Timestamp, into plan: inout Plan) {
        let name = container.name
        switch state[name].phase {
        case .starting, .running: return
        case .idle:
            guard mayStart else { return }
        case .blocked(let reason, let message, let retryAt):
            guard mayStart else { return }
            guard now >= retryAt else { return plan.wake(retryAt) }
            if reason == "ErrImagePull" { return backOffImage(container, error: message, into: &plan) }
        case .exited(let exit):
            guard policy(of: container).restarts(afterExit: exit.code) else { return }
            if let until = state[name].restartBackoff.blockedUntil(since: exit.finishedAt, now: now) {
                plan.wake(until)
                return
            }
            guard mayStart else { return }
            if state[name].restartBackoff.delay != nil {
                plan.steps.append(
                    .report(
                        Report(
                            isWarning: true, reason: "BackOff",
                            message: "Back-off restarting failed container \(name) in pod \(podText)", container: name))
                )
            }
            state[name].restartBackoff.raise(at: now)
            state[name].lastExit = exit
            state[name].restartCount += 1
        }
        state[name].phase = .starting
        plan.steps.append(.start(container: name, attempt: state[name].restartCount))
    }

    private mutating func backOffImage(_ container: ContainerSpec, error: String, into plan: inout Plan) {
        let backoff = state[container.name].imageBackoff
        guard let delay = backoff.delay, let since = backoff.updatedAt else { return }
        let message = "Back-off pulling image \"\(container.image)\""
        state[container.name].phase = .blocked(
            reason: "ImagePullBackOff", message: "\(message): ErrImagePull: \(error)", retryAt: since.adding(delay))
        plan.wake(since.adding(delay))
        plan.steps.append(
            .report(Report(isWarning: false, reason: "BackOff", message: message, container: container.name)))
    }

    /// `name_namespace(uid)`, as events and messages name a pod.
    var podText: String { "\(spec.identity.name)_\(spec.identity.namespace)(\(spec.identity.uid))" }

    /// Hooks and probes of a running container.
    private mutating func advance(_ container: ContainerSpec, now: Timestamp, into plan: inout Plan) {
        guard var running = state[container.name].running, running.stop == nil else { return }
        if running.postStart == .pending, let action = container.postStart {
            running.postStart = .running
            plan.steps.append(.hook(container: container.name, .postStart, action))
        }
        if running.postStart == .done {
            let startupPassed = running.probes[.startup]?.passes ?? true
            for kind in ProbeKind.allCases {
                guard let spec = container.probe(kind), var progress = running.probes[kind], !progress.isAsking else {
                    continue
                }
                // The startup probe gates the others, and is over once it passed.
                if (kind == .startup) == startupPassed { continue }
                if now >= progress.nextAt {
                    progress.isAsking = true
                    running.probes[kind] = progress
                    plan.steps.append(.probe(container: container.name, kind, spec))
                } else {
                    plan.wake(progress.nextAt)
                }
            }
        }
        state[container.name].phase = .running(running)
    }

    /// 1 s, 2 s, 4 s, … up to `retryLimit`.
    static func retryDelay(_ failures: Int) -> Duration {
        min(retryLimit, .seconds(1 << min(failures - 1, 6)))
    }
}
