import Bytes
import JSON

/// What kubectl shows of a pod: how many containers are ready, one word for its state, and how often it restarted.
///
/// The word is the most telling thing that is known: a container's waiting or terminated reason before the phase, the
/// progress of init containers before those, and deletion before everything.
struct PodStatus: Equatable {
    var ready = 0
    var total = 0
    var word = ""
    var restarts: Int64 = 0
    /// When the latest of the restarts ended its predecessor.
    var lastRestart: Timestamp?

    init(_ pod: JSONValue) {
        let spec = pod["spec"] ?? .null
        let status = pod["status"] ?? .null
        let phase = status.text("phase")
        let conditions = status["conditions"] ?? .null
        let initSpecs = spec.list("initContainers")
        let sidecars = Set(initSpecs.filter { $0.text("restartPolicy") == "Always" }.map { $0.text("name") })

        total = spec.list("containers").count + sidecars.count
        word = status.text("reason").isEmpty ? phase : status.text("reason")
        if conditions.element(where: "type", is: "PodScheduled")?.text("reason") == "SchedulingGated" {
            word = "SchedulingGated"
        }

        let initStatuses = status.list("initContainerStatuses")
        let unfinished = readInit(initStatuses, count: initSpecs.count, sidecars: sidecars)
        let initialized = conditions.element(where: "type", is: "Initialized")?.text("status") == "True"
        if !unfinished || initialized {
            restarts = 0
            lastRestart = nil
            for container in initStatuses where sidecars.contains(container.text("name")) { countRestarts(container) }
            readMain(status.list("containerStatuses"), podReady: isTrue(conditions, "Ready"))
        }
        if pod[path: "metadata", "deletionTimestamp"] != nil {
            if status.text("reason") == "NodeLost" {
                word = "Unknown"
            } else if phase != "Succeeded", phase != "Failed" {
                word = "Terminating"
            }
        }
    }

    /// `2 (5m ago)`, or the bare number.
    func restartsText(now: Timestamp) -> String {
        guard restarts > 0, let lastRestart else { return String(restarts) }
        return "\(restarts) (\(HumanDuration.text(seconds: now.seconds - lastRestart.seconds)) ago)"
    }

    /// Follows the init containers up to the one that holds the pod back.
    /// - Returns: whether there is one.
    private mutating func readInit(_ statuses: [JSONValue], count: Int, sidecars: Set<String>) -> Bool {
        for (index, container) in statuses.enumerated() {
            countRestarts(container)
            let state = container["state"] ?? .null
            if let ended = state["terminated"], ended.number("exitCode") == 0 { continue }
            if sidecars.contains(container.text("name")), container["started"] == .bool(true) {
                if container["ready"] == .bool(true) { ready += 1 }
                continue
            }
            if let ended = state["terminated"] {
                word = "Init:" + endWord(ended)
            } else if let reason = state["waiting"]?.text("reason"), !reason.isEmpty, reason != "PodInitializing" {
                word = "Init:" + reason
            } else {
                word = "Init:\(index)/\(count)"
            }
            return true
        }
        return false
    }

    private mutating func readMain(_ statuses: [JSONValue], podReady: Bool) {
        var running = false
        for container in statuses.reversed() {
            countRestarts(container)
            let state = container["state"] ?? .null
            if let reason = state["waiting"]?.text("reason"), !reason.isEmpty {
                word = reason
            } else if let ended = state["terminated"] {
                word = endWord(ended)
            } else if container["ready"] == .bool(true), state["running"] != nil {
                running = true
                ready += 1
            }
        }
        if word == "Completed", running { word = podReady ? "Running" : "NotReady" }
    }

    private mutating func countRestarts(_ container: JSONValue) {
        restarts += container.number("restartCount")
        if let end = container[path: "lastState", "terminated", "finishedAt"]?.string.flatMap({ Timestamp(rfc3339: $0) }
        ),
            lastRestart.map({ $0 < end }) ?? true
        {
            lastRestart = end
        }
    }

    private func endWord(_ ended: JSONValue) -> String {
        let reason = ended.text("reason")
        if !reason.isEmpty { return reason }
        let signal = ended.number("signal")
        return signal != 0 ? "Signal:\(signal)" : "ExitCode:\(ended.number("exitCode"))"
    }

    private func isTrue(_ conditions: JSONValue, _ type: String) -> Bool {
        conditions.element(where: "type", is: type)?.text("status") == "True"
    }
}
