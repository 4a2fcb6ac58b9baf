import Bytes
import JSON

/// A pod and its state as JSON, for a new agent to go on where the old one ended.
///
/// What was under way is not carried over as under way: a start, a hook or a removal that may or may not have happened is left to
/// recovery, which asks the runtime.
public enum PodCheckpoint {
    /// Raised when the form changes in a way that an older agent would misread.
    static let version: Int64 = 1

    /// - Parameter pod: the Pod object as last seen, so that a new agent can care for the pod before it reaches the API server.
    public static func encode(_ state: PodState, pod: JSONValue) -> JSONValue {
        var containers = JSONObject()
        for (name, container) in state.containers { containers[name] = encode(container) }
        var json: JSONValue = [
            "version": .int(version), "pod": pod, "startTime": encode(state.startTime),
            "sandboxAttempt": .int(state.sandboxAttempt), "isInitialized": .bool(state.isInitialized),
            "containers": .object(containers),
        ]
        if let facts = state.heldSandbox {
            json["sandbox"] = [
                "id": .string(facts.id), "network": .string(facts.networkPath), "ipc": .string(facts.ipcPath),
                "uts": .string(facts.utsPath), "podIPs": .array(facts.podIPs.map { .string($0) }),
                "createdAt": encode(facts.createdAt),
            ]
        }
        if let end = state.end { json["end"] = ["reason": .string(end.reason), "message": .string(end.message)] }
        if let termination = state.termination {
            json["termination"] = [
                "startedAt": encode(termination.startedAt), "gracePeriod": .int(termination.gracePeriod),
            ]
        }
        return json
    }

    /// nil when this is not a checkpoint of this version.
    public static func decode(_ json: JSONValue) -> (state: PodState, pod: JSONValue)? {
        guard json["version"]?.int == version, let pod = json["pod"], let startTime = timestamp(json["startTime"])
        else {
            return nil
        }
        var state = PodState(startTime: startTime)
        state.sandboxAttempt = json["sandboxAttempt"]?.int ?? 0
        state.isInitialized = json["isInitialized"]?.bool ?? false
        for (name, container) in json["containers"]?.object ?? JSONObject() {
            state.containers[name] = decodeContainer(container)
        }
        if let sandbox = json["sandbox"], let id = sandbox["id"]?.string,
            let createdAt = timestamp(sandbox["createdAt"])
        {
            state.sandbox = .ready(
                SandboxFacts(
                    id: id, networkPath: sandbox["network"]?.string ?? "", ipcPath: sandbox["ipc"]?.string ?? "",
                    utsPath: sandbox["uts"]?.string ?? "", podIPs: sandbox["podIPs"].elements.compactMap(\.string),
                    createdAt: createdAt))
        }
        if let end = json["end"] {
            state.end = PodState.End(reason: end["reason"]?.string ?? "", message: end["message"]?.string ?? "")
        }
        if let termination = json["termination"], let startedAt = timestamp(termination["startedAt"]) {
            state.termination = PodState.Termination(
                startedAt: startedAt, gracePeriod: termination["gracePeriod"]?.int ?? 30)
        }
        return (state, pod)
    }

    private static func encode(_ container: ContainerState) -> JSONValue {
        var json: JSONValue = ["restartCount": .int(container.restartCount)]
        if let last = container.lastExit { json["lastExit"] = encode(last) }
        if let delay = container.restartBackoff.delay, let updatedAt = container.restartBackoff.updatedAt {
            json["backoff"] = ["seconds": .int(delay.components.seconds), "updatedAt": encode(updatedAt)]
        }
        switch container.phase {
        case .idle, .starting, .blocked: break
        case .exited(let exit): json["exit"] = encode(exit)
        case .running(let running):
            var probes = JSONObject()
            for (kind, progress) in running.probes { probes[kind.rawValue] = .bool(progress.passes) }
            json["running"] = [
                "id": .string(running.id), "pid": .int(Int64(running.pid)), "startedAt": encode(running.startedAt),
                "postStartDone": .bool(running.postStart == .done), "probes": .object(probes),
            ]
        }
        return json
    }

    private static func decodeContainer(_ json: JSONValue) -> ContainerState {
        var container = ContainerState()
        container.restartCount = json["restartCount"]?.int ?? 0
        container.lastExit = json["lastExit"].flatMap(decodeExit)
        if let backoff = json["backoff"], let seconds = backoff["seconds"]?.int,
            let updatedAt = timestamp(backoff["updatedAt"])
        {
            container.restartBackoff = RestartBackoff(delay: .seconds(seconds), updatedAt: updatedAt)
        }
        if let exit = json["exit"].flatMap(decodeExit) {
            container.phase = .exited(exit)
        } else if let running = json["running"], let id = running["id"]?.string,
            let pid = running["pid"]?.int.flatMap({ Int32(exactly: $0) }),
            let startedAt = timestamp(running["startedAt"])
        {
            // A hook that ran when the agent died is not run again: it may have had effects.
            container.phase = .running(
                ContainerState.Running(id: id, pid: pid, startedAt: startedAt, postStart: .done, probes: [:]))
        }
        return container
    }

    /// Which probes had passed: a container that was ready is ready until a probe says otherwise.
    static func passedProbes(_ json: JSONValue, container: String) -> [ProbeKind: Bool] {
        var result: [ProbeKind: Bool] = [:]
        let probes = json["containers"]?[container]?["running"]?["probes"]
        for kind in ProbeKind.allCases { result[kind] = probes?[kind.rawValue]?.bool }
        return result
    }

    private static func encode(_ exit: ContainerState.Exit) -> JSONValue {
        [
            "id": .string(exit.id), "code": .int(Int64(exit.code)), "signal": .int(Int64(exit.signal)),
            "reason": .string(exit.reason), "message": .string(exit.message), "startedAt": encode(exit.startedAt),
            "finishedAt": encode(exit.finishedAt),
        ]
    }

    private static func decodeExit(_ json: JSONValue) -> ContainerState.Exit? {
        guard let startedAt = timestamp(json["startedAt"]), let finishedAt = timestamp(json["finishedAt"]) else {
            return nil
        }
        return ContainerState.Exit(
            id: json["id"]?.string ?? "", code: json["code"]?.int.flatMap { Int32(exactly: $0) } ?? 255,
            signal: json["signal"]?.int.flatMap { Int32(exactly: $0) } ?? 0, reason: json["reason"]?.string ?? "Error",
            message: json["message"]?.string ?? "", startedAt: startedAt, finishedAt: finishedAt)
    }

    private static func encode(_ moment: Timestamp) -> JSONValue {
        [.int(moment.seconds), .int(Int64(moment.nanoseconds))]
    }

    private static func timestamp(_ json: JSONValue?) -> Timestamp? {
        guard let parts = json?.array, parts.count == 2, let seconds = parts[0].int,
            let nanoseconds = parts[1].int.flatMap({ Int32(exactly: $0) }), (0..<1_000_000_000).contains(nanoseconds)
        else { return nil }
        return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
    }
}
