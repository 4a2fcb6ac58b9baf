import Bytes
import JSON

/// Pods and what makes them.
extension KindColumns {
    static let workloads: [String: [TableColumn]] = [
        "/Pod": [
            .name,
            .text("Ready") { $0.pod.map { "\($0.ready)/\($0.total)" } ?? "" },
            .text("Status") { $0.pod?.word ?? "" },
            .text("Restarts") { $0.pod?.restartsText(now: $0.now) ?? "" },
            .age,
            .text("IP") { source in
                let first = source.object.list("status", "podIPs").first?.text("ip") ?? ""
                let address = first.isEmpty ? source.object.text("status", "podIP") : first
                return address.isEmpty ? none : address
            }.wide,
            .text("Node", at: "spec", "nodeName", absent: none).wide,
            .text("Nominated Node", at: "status", "nominatedNodeName", absent: none).wide,
            .text("Readiness Gates") { source in
                let gates = source.object.list("spec", "readinessGates").map { $0.text("conditionType") }
                if gates.isEmpty { return none }
                let conditions = source.object[path: "status", "conditions"] ?? .null
                let open = gates.filter { conditions.element(where: "type", is: $0)?.text("status") == "True" }
                return "\(open.count)/\(gates.count)"
            }.wide,
        ],
        "apps/Deployment": [
            .name,
            .text("Ready") { "\($0.object.number("status", "readyReplicas"))/\($0.object.number("spec", "replicas"))" },
            .number("Up-to-date", at: "status", "updatedReplicas"),
            .number("Available", at: "status", "availableReplicas"), .age, .containers, .images, .selector,
        ],
        "apps/ReplicaSet": replicas + [.selector],
        "/ReplicationController": replicas + [
            .text("Selector") { labelsText($0.object[path: "spec", "selector"]) }.wide
        ],
        "apps/StatefulSet": [
            .name,
            .text("Ready") { "\($0.object.number("status", "readyReplicas"))/\($0.object.number("spec", "replicas"))" },
            .age, .containers, .images,
        ],
        "apps/DaemonSet": [
            .name, .number("Desired", at: "status", "desiredNumberScheduled"),
            .number("Current", at: "status", "currentNumberScheduled"), .number("Ready", at: "status", "numberReady"),
            .number("Up-to-date", at: "status", "updatedNumberScheduled"),
            .number("Available", at: "status", "numberAvailable"),
            .text("Node Selector") { labelsText($0.object[path: "spec", "template", "spec", "nodeSelector"]) },
            .age, .containers, .images, .selector,
        ],
        "apps/ControllerRevision": [
            .name,
            .text("Controller") { source in
                let owners = source.object.list("metadata", "ownerReferences")
                guard let owner = owners.first(where: { $0["controller"] == .bool(true) }) else { return none }
                let group = owner.text("apiVersion").split(separator: "/").dropLast().first.map { "." + $0 } ?? ""
                return "\(owner.text("kind").lowercased())\(group)/\(owner.text("name"))"
            },
            .number("Revision", at: "revision"), .age,
        ],
        "/PodTemplate": [
            .name,
            .text("Containers") { names($0.object.list("template", "spec", "containers"), "name") },
            .text("Images") { names($0.object.list("template", "spec", "containers"), "image") },
            .text("Pod Labels") { labelsText($0.object[path: "template", "metadata", "labels"]) },
        ],
        "batch/Job": [
            .name, .text("Status") { jobStatus($0.object) },
            .text("Completions") { source in
                let done = source.object.number("status", "succeeded")
                if let wanted = source.object[path: "spec", "completions"]?.int { return "\(done)/\(wanted)" }
                let parallel = source.object.number("spec", "parallelism")
                return parallel > 1 ? "\(done)/1 of \(parallel)" : "\(done)/1"
            },
            .text("Duration") { source in
                guard let start = source.object[path: "status", "startTime"]?.string.flatMap({ Timestamp(rfc3339: $0) })
                else { return "" }
                let end = source.object[path: "status", "completionTime"]?.string.flatMap { Timestamp(rfc3339: $0) }
                return HumanDuration.text(seconds: (end ?? source.now).seconds - start.seconds)
            },
            .age, .containers, .images, .selector,
        ],
        "batch/CronJob": [
            .name, .text("Schedule", at: "spec", "schedule"), .text("Timezone", at: "spec", "timeZone", absent: none),
            .text("Suspend") { $0.object[path: "spec", "suspend"] == .bool(true) ? "True" : "False" },
            .number("Active") { $0.object.list("status", "active").count },
            .text("Last Schedule") { source in
                source.object[path: "status", "lastScheduleTime"] == nil
                    ? none : source.age("status", "lastScheduleTime")
            },
            .age,
            .text("Containers") {
                names($0.object.list("spec", "jobTemplate", "spec", "template", "spec", "containers"), "name")
            }.wide,
            .text("Images") {
                names($0.object.list("spec", "jobTemplate", "spec", "template", "spec", "containers"), "image")
            }.wide,
            .text("Selector") { labelSelectorText($0.object[path: "spec", "jobTemplate", "spec", "selector"]) }.wide,
        ],
        "autoscaling/HorizontalPodAutoscaler": [
            .name,
            .text("Reference") {
                "\($0.object.text("spec", "scaleTargetRef", "kind"))/\($0.object.text("spec", "scaleTargetRef", "name"))"
            },
            .text("Targets") { autoscalerTargets($0.object) },
            .text("MinPods", at: "spec", "minReplicas", absent: "<unset>"),
            .number("MaxPods", at: "spec", "maxReplicas"),
            .number("Replicas", at: "status", "currentReplicas"), .age,
        ],
        "policy/PodDisruptionBudget": [
            .name, .text("Min Available", at: "spec", "minAvailable", absent: "N/A"),
            .text("Max Unavailable", at: "spec", "maxUnavailable", absent: "N/A"),
            .number("Allowed Disruptions", at: "status", "disruptionsAllowed"), .age,
        ],
    ]

    private static let replicas: [TableColumn] = [
        .name, .number("Desired", at: "spec", "replicas"), .number("Current", at: "status", "replicas"),
        .number("Ready", at: "status", "readyReplicas"), .age, .containers, .images,
    ]

    private static func names(_ containers: [JSONValue], _ key: String) -> String {
        containers.map { $0.text(key) }.joined(separator: ",")
    }

    private static func jobStatus(_ job: JSONValue) -> String {
        let conditions = job[path: "status", "conditions"] ?? .null
        let holds = { (type: String) in conditions.element(where: "type", is: type)?.text("status") == "True" }
        if holds("Complete") { return "Complete" }
        if holds("Failed") { return "Failed" }
        if job[path: "metadata", "deletionTimestamp"] != nil { return "Terminating" }
        return ["Suspended", "FailureTarget", "SuccessCriteriaMet"].first(where: holds) ?? "Running"
    }

    private static func autoscalerTargets(_ object: JSONValue) -> String {
        let metrics = object.list("spec", "metrics")
        if metrics.isEmpty {
            guard let target = object[path: "spec", "targetCPUUtilizationPercentage"]?.int else { return none }
            let current = object[path: "status", "currentCPUUtilizationPercentage"]?.plainText
            return "cpu: \(current.map { $0 + "%" } ?? "<unknown>")/\(target)%"
        }
        let currents = object.list("status", "currentMetrics")
        return firstFew(
            metrics.enumerated().map { index, metric in
                let source = metric.text("type").prefix(1).lowercased() + metric.text("type").dropFirst()
                let body = metric[source] ?? .null
                let current = index < currents.count ? currents[index][path: source, "current"] : nil
                let name = body.text("name").isEmpty ? "" : "\(body.text("name")): "
                if let wanted = body[path: "target", "averageUtilization"]?.int {
                    let now = current?["averageUtilization"]?.plainText
                    return "\(name)\(now.map { $0 + "%" } ?? "<unknown>")/\(wanted)%"
                }
                if let wanted = body[path: "target", "averageValue"]?.plainText {
                    return "\(name)\(current?["averageValue"]?.plainText ?? "<unknown>")/\(wanted) (avg)"
                }
                return
                    "\(name)\(current?["value"]?.plainText ?? "<unknown>")/\(body[path: "target", "value"]?.plainText ?? "")"
            })
    }
}
