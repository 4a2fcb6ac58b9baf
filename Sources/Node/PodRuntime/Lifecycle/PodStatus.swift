import Bytes
import JSON

/// What the API server is told about a pod: phase, conditions and container statuses, by the kubelet's rules.
public enum PodStatus {
    public enum Phase: String, Sendable {
        case pending = "Pending"
        case running = "Running"
        case succeeded = "Succeeded"
        case failed = "Failed"
    }

    public static func phase(_ lifecycle: PodLifecycle) -> Phase {
        let (spec, state) = (lifecycle.spec, lifecycle.state)
        if state.end != nil, lifecycle.isFinished { return .failed }
        var (waiting, running, stopped, succeeded) = (0, 0, 0, 0)
        for container in spec.containers {
            let own = state[container.name]
            switch own.phase {
            case .running: running += 1
            case .exited(let exit) where exit.reason != "StartError" || lifecycle.isFinished:
                stopped += 1
                if exit.code == 0 { succeeded += 1 }
            case .idle, .starting, .blocked, .exited:
                if own.lastExit.map({ $0.reason != "StartError" }) ?? false { stopped += 1 } else { waiting += 1 }
            }
        }
        let isTerminal = lifecycle.isFinished && state.termination != nil
        if isTerminal {
            // A pod that is told to go before it ran has failed; one whose containers all ended well has succeeded.
            let initFailed = spec.initContainers.contains { !$0.isSidecar && (state[$0.name].exit?.code ?? 0) != 0 }
            return stopped == spec.containers.count && succeeded == stopped && !initFailed ? .succeeded : .failed
        }
        if !state.isInitialized { return .pending }
        if waiting > 0 { return .pending }
        return .running
    }

    /// The `status` to merge into the pod (strategic merge patch).
    ///
    /// - Parameter previous: the pod's present status at the server, for transition times and for what must be taken away.
    public static func build(
        _ lifecycle: PodLifecycle, hostIPs: [String], previous: JSONValue?, now: Timestamp
    ) -> JSONValue {
        let (spec, state) = (lifecycle.spec, lifecycle.state)
        let phase = phase(lifecycle)
        var status: JSONValue = [
            "phase": .string(phase.rawValue), "startTime": .string(state.startTime.rfc3339),
            "qosClass": .string(spec.qualityOfService.rawValue),
        ]
        if spec.generation > 0 { status["observedGeneration"] = .int(spec.generation) }
        if let host = hostIPs.first {
            status["hostIP"] = .string(host)
            status["hostIPs"] = .array(hostIPs.map { ["ip": .string($0)] })
        }
        let podIPs = state.sandboxFacts.map { spec.hostNetwork ? hostIPs : $0.podIPs } ?? []
        if let address = podIPs.first {
            status["podIP"] = .string(address)
            // podIPs merges by address: those of an earlier sandbox have to be taken away by name.
            let stale =
                previous?["podIPs"].elements.compactMap { $0["ip"]?.string }.filter { !podIPs.contains($0) } ?? []
            status["podIPs"] = .array(
                podIPs.map { ["ip": .string($0)] } + stale.map { ["$patch": "delete", "ip": .string($0)] })
        }
        if let end = state.end {
            status["reason"] = .string(end.reason)
            status["message"] = .string(end.message)
        }
        status["conditions"] = .array(conditions(lifecycle, phase, previous: previous, now: now))
        if !spec.initContainers.isEmpty {
            status["initContainerStatuses"] = .array(
                spec.initContainers.map { containerStatus($0, lifecycle, now: now) })
        }
        status["containerStatuses"] = .array(spec.containers.map { containerStatus($0, lifecycle, now: now) })
        return status
    }

    /// Whether the server's status says all that this one would say: nothing need be sent.
    public static func isContained(_ status: JSONValue, in server: JSONValue?) -> Bool {
        guard let server, let fields = status.object else { return false }
        for (name, value) in fields {
            if name == "conditions" {
                for condition in value.array ?? [] {
                    guard let own = condition.object,
                        let theirs = server["conditions"].elements.first(where: { $0["type"] == condition["type"] })
                    else { return false }
                    for (key, part) in own where part != (theirs[key] ?? .null) { return false }
                }
            } else if server[name] != value {
                return false
            }
        }
        return true
    }

    // MARK: Conditions

    private static func conditions(
        _ lifecycle: PodLifecycle, _ phase: Phase, previous: JSONValue?, now: Timestamp
    ) -> [JSONValue] {
        let (spec, state) = (lifecycle.spec, lifecycle.state)
        var result: [JSONValue] = []
        func add(_ type: String, _ holds: Bool, reason: String = "", message: String = "") {
            let status = holds ? "True" : "False"
            let old = previous?["conditions"].elements.first { $0["type"]?.string == type }
            let since = old?["status"]?.string == status ? old?["lastTransitionTime"]?.string : nil
            var condition: JSONValue = [
                "type": .string(type), "status": .string(status), "lastProbeTime": .null,
                "lastTransitionTime": .string(since ?? now.rfc3339),
            ]
            if spec.generation > 0 { condition["observedGeneration"] = .int(spec.generation) }
            // A merge keeps what is not named: what no longer holds is taken away with null.
            condition["reason"] = reason.isEmpty ? .null : .string(reason)
            condition["message"] = message.isEmpty ? .null : .string(message)
            result.append(condition)
        }
        add("PodReadyToStartContainers", state.sandboxFacts != nil)

        let incomplete = spec.initContainers.filter { container in
            container.isSidecar
                ? !(state.isInitialized || (state[container.name].running?.isStarted ?? false))
                : !(state.isInitialized || state[container.name].exit?.code == 0)
        }
        if phase == .succeeded {
            add("Initialized", true, reason: "PodCompleted")
        } else if incomplete.isEmpty {
            add("Initialized", true)
        } else {
            add(
                "Initialized", false, reason: "ContainersNotInitialized",
                message: "containers with incomplete status: [\(incomplete.map(\.name).joined(separator: " "))]")
        }

        let unready = (spec.sidecars + spec.containers).filter { !(state[$0.name].running?.isReady ?? false) }
        let (containersReady, reason, message): (Bool, String, String) =
            switch phase {
            case .succeeded: (false, "PodCompleted", "")
            case .failed: (false, "PodFailed", "")
            case .pending, .running:
                unready.isEmpty
                    ? (true, "", "")
                    : (
                        false, "ContainersNotReady",
                        "containers with unready status: [\(unready.map(\.name).joined(separator: " "))]"
                    )
            }
        let gates = spec.readinessGates.filter { gate in
            previous?["conditions"].elements.first { $0["type"]?.string == gate }?["status"]?.string != "True"
        }
        if containersReady, !gates.isEmpty {
            let text = gates.map { "corresponding condition of pod readiness gate \"\($0)\" does not exist." }
            add("Ready", false, reason: "ReadinessGatesNotReady", message: text.joined(separator: ", "))
        } else {
            add("Ready", containersReady, reason: reason, message: message)
        }
        add("ContainersReady", containersReady, reason: reason, message: message)
        return result
    }

    // MARK: Containers

    private static func containerStatus(
        _ container: ContainerSpec, _ lifecycle: PodLifecycle, now: Timestamp
    ) -> JSONValue {
        let own = lifecycle.state[container.name]
        var status: JSONValue = [
            "name": .string(container.name), "image": .string(container.image), "imageID": "",
            "restartCount": .int(own.restartCount), "ready": .bool(false), "started": .bool(false),
        ]
        var last = own.lastExit
        func identify(_ id: String) {
            guard !id.isEmpty else { return }
            status["containerID"] = .string(containerID(id))
            status["imageID"] = .string(container.image)
        }
        func wait(_ reason: String, _ message: String = "") {
            var waiting: JSONValue = ["reason": .string(reason)]
            if !message.isEmpty { waiting["message"] = .string(message) }
            status["state"] = ["waiting": waiting]
        }
        switch own.phase {
        case .idle, .starting:
            wait(
                lifecycle.state.end != nil || lifecycle.isInitializing(for: container)
                    ? "PodInitializing" : "ContainerCreating")
            if let last { identify(last.id) }
        case .blocked(let reason, let message, _):
            wait(reason, message)
        case .running(let running):
            identify(running.id)
            status["started"] = .bool(running.isStarted)
            status["ready"] = .bool(container.isInit && !container.isSidecar ? false : running.isReady)
            status["state"] = ["running": ["startedAt": .string(running.startedAt.rfc3339)]]
        case .exited(let exit):
            identify(exit.id)
            let blocked = own.restartBackoff.blockedUntil(since: exit.finishedAt, now: now) != nil
            if lifecycle.willRestart(container), !lifecycle.isFinished, blocked || exit.reason == "StartError" {
                if blocked {
                    wait(
                        "CrashLoopBackOff",
                        "back-off \(own.restartBackoff.text) restarting failed container=\(container.name) pod=\(lifecycle.podText)"
                    )
                } else {
                    wait("RunContainerError", exit.message)
                }
                last = exit
            } else {
                status["state"] = ["terminated": terminated(exit)]
                status["ready"] = .bool(container.isInit && !container.isSidecar && exit.code == 0)
            }
        }
        status["lastState"] = last.map { ["terminated": terminated($0)] } ?? [:]
        return status
    }

    /// An id as statuses name it, with the runtime's scheme.
    public static func containerID(_ id: String) -> String { "crun://\(id)" }

    private static func terminated(_ exit: ContainerState.Exit) -> JSONValue {
        var result: JSONValue = [
            "exitCode": .int(Int64(exit.code)), "reason": .string(exit.reason),
            "startedAt": .string(exit.startedAt.rfc3339), "finishedAt": .string(exit.finishedAt.rfc3339),
        ]
        if !exit.id.isEmpty { result["containerID"] = .string(containerID(exit.id)) }
        if exit.signal != 0 { result["signal"] = .int(Int64(exit.signal)) }
        if !exit.message.isEmpty { result["message"] = .string(exit.message) }
        return result
    }
}
