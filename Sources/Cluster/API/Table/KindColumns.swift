import Bytes
import JSON

/// The columns of each kind, as `kubectl get` has shown them for years; scripts cut them by position.
enum KindColumns {
    /// By group and kind: a kind's versions share their columns.
    static func of(_ kind: GroupVersionKind) -> [TableColumn] {
        table["\(kind.group)/\(kind.kind)"] ?? [.name, .createdAt]
    }

    private static let replicas: [TableColumn] = [
        .name, .number("Desired", at: "spec", "replicas"), .number("Current", at: "status", "replicas"),
        .number("Ready", at: "status", "readyReplicas"), .age, .containers, .images,
    ]

    private static let table: [String: [TableColumn]] = workloads.merging(network) { $1 }.merging(cluster) { $1 }
        .merging(storage) { $1 }

    private static let workloads: [String: [TableColumn]] = [
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

    private static let network: [String: [TableColumn]] = [
        "/Service": [
            .name, .text("Type", at: "spec", "type"), .text("Cluster-IP", at: "spec", "clusterIP", absent: none),
            .text("External-IP") { externalAddress($0.object) },
            .text("Port(s)") { source in
                let ports = source.object.list("spec", "ports").map { port in
                    let node = port.number("nodePort")
                    let number = node > 0 ? "\(port.number("port")):\(node)" : "\(port.number("port"))"
                    return "\(number)/\(port.text("protocol"))"
                }
                return ports.isEmpty ? none : ports.joined(separator: ",")
            },
            .age, .text("Selector") { labelsText($0.object[path: "spec", "selector"]) }.wide,
        ],
        "/Endpoints": [
            .name,
            .text("Endpoints") { source in
                var shown: [String] = []
                for subset in source.object.list("subsets") {
                    let addresses = subset.list("addresses").map { $0.text("ip") }
                    let ports = subset.list("ports").map { $0.number("port") }
                    if ports.isEmpty { shown += addresses }
                    for port in ports { shown += addresses.map { hostPort($0, port) } }
                }
                return firstFew(shown)
            },
            .age,
        ],
        "discovery.k8s.io/EndpointSlice": [
            .name, .text("AddressType", at: "addressType"),
            .text("Ports") { source in
                firstFew(source.object.list("ports").map { $0["port"]?.plainText ?? "*" }, absent: "<unset>")
            },
            .text("Endpoints") { source in
                firstFew(
                    source.object.list("endpoints").flatMap { $0.list("addresses").compactMap(\.string) },
                    absent: "<unset>")
            },
            .age,
        ],
        "networking.k8s.io/Ingress": [
            .name, .text("Class", at: "spec", "ingressClassName", absent: none),
            .text("Hosts") { source in
                let hosts = source.object.list("spec", "rules").map { $0.text("host") }.filter { !$0.isEmpty }
                return firstFew(hosts, absent: "*")
            },
            .text("Address") { loadBalancerAddresses($0.object).joined(separator: ",") },
            .text("Ports") { $0.object.list("spec", "tls").isEmpty ? "80" : "80, 443" }, .age,
        ],
        "networking.k8s.io/IngressClass": [
            .name, .text("Controller", at: "spec", "controller"),
            .text("Parameters") { source in
                guard let parameters = source.object[path: "spec", "parameters"] else { return none }
                let group = parameters.text("apiGroup")
                return "\(parameters.text("kind"))\(group.isEmpty ? "" : "." + group)/\(parameters.text("name"))"
            },
            .age,
        ],
        "networking.k8s.io/NetworkPolicy": [
            .name, .text("Pod-Selector") { labelSelectorText($0.object[path: "spec", "podSelector"]) }, .age,
        ],
        "networking.k8s.io/ServiceCIDR": [
            .name,
            .text("CIDRs") { $0.object.list("spec", "cidrs").compactMap(\.string).joined(separator: ",") }, .age,
        ],
        "networking.k8s.io/IPAddress": [
            .name,
            .text("ParentRef") { source in
                let parent = source.object[path: "spec", "parentRef"] ?? .null
                let resource = GroupVersionResource(group: parent.text("group"), resource: parent.text("resource"))
                return [resource.groupResource, parent.text("namespace"), parent.text("name")]
                    .filter { !$0.isEmpty }.joined(separator: "/")
            },
        ],
    ]

    private static let cluster: [String: [TableColumn]] = [
        "/Node": [
            .name, .text("Status") { nodeStatus($0.object) }, .text("Roles") { nodeRoles($0.object) }, .age,
            .text("Version", at: "status", "nodeInfo", "kubeletVersion"),
            .text("Internal-IP") { nodeAddress($0.object, "InternalIP") }.wide,
            .text("External-IP") { nodeAddress($0.object, "ExternalIP") }.wide,
            .text("OS-Image", at: "status", "nodeInfo", "osImage", absent: "<unknown>").wide,
            .text("Kernel-Version", at: "status", "nodeInfo", "kernelVersion", absent: "<unknown>").wide,
            .text("Container-Runtime", at: "status", "nodeInfo", "containerRuntimeVersion", absent: "<unknown>").wide,
        ],
        "/Namespace": [.name, .text("Status", at: "status", "phase"), .age],
        "/Secret": [
            .name, .text("Type", at: "type"), .number("Data") { $0.object["data"]?.object?.count ?? 0 }, .age,
        ],
        "/ConfigMap": [
            .name,
            .number("Data") { ($0.object["data"]?.object?.count ?? 0) + ($0.object["binaryData"]?.object?.count ?? 0) },
            .age,
        ],
        "/ServiceAccount": [.name, .age],
        "/Event": eventColumns("involvedObject", "source", "message", "firstTimestamp", "lastTimestamp", "count"),
        "events.k8s.io/Event": eventColumns(
            "regarding", "deprecatedSource", "note", "deprecatedFirstTimestamp", "deprecatedLastTimestamp",
            "deprecatedCount"),
        "coordination.k8s.io/Lease": [.name, .text("Holder", at: "spec", "holderIdentity"), .age],
        "/ResourceQuota": [
            .name, .text("Request") { quota($0.object, limits: false) },
            .text("Limit") { quota($0.object, limits: true) },
            .age,
        ],
        "/ComponentStatus": [
            .name,
            .text("Status") { $0.object.list("conditions").first?.text("status") == "True" ? "Healthy" : "Unhealthy" },
            .text("Message") { $0.object.list("conditions").first?.text("message") ?? "" },
            .text("Error") { $0.object.list("conditions").first?.text("error") ?? "" },
        ],
        "rbac.authorization.k8s.io/RoleBinding": binding,
        "rbac.authorization.k8s.io/ClusterRoleBinding": binding,
        "scheduling.k8s.io/PriorityClass": [
            .name, .number("Value", at: "value"),
            .boolean("Global-Default") { $0.object["globalDefault"] == .bool(true) },
            .age, .text("PreemptionPolicy", at: "preemptionPolicy"),
        ],
        "node.k8s.io/RuntimeClass": [.name, .text("Handler", at: "handler"), .age],
        "certificates.k8s.io/CertificateSigningRequest": [
            .name, .age, .text("SignerName", at: "spec", "signerName"), .text("Requestor", at: "spec", "username"),
            .text("RequestedDuration") { source in
                guard let seconds = source.object[path: "spec", "expirationSeconds"]?.int else { return none }
                return HumanDuration.text(seconds: seconds)
            },
            .text("Condition") { source in
                var words = source.object.list("status", "conditions").map { $0.text("type") }
                if words.isEmpty { words = ["Pending"] }
                if !source.object.text("status", "certificate").isEmpty { words.append("Issued") }
                return words.joined(separator: ",")
            },
        ],
        "admissionregistration.k8s.io/MutatingWebhookConfiguration": webhooks,
        "admissionregistration.k8s.io/ValidatingWebhookConfiguration": webhooks,
        "flowcontrol.apiserver.k8s.io/FlowSchema": [
            .name, .text("PriorityLevel", at: "spec", "priorityLevelConfiguration", "name"),
            .number("MatchingPrecedence", at: "spec", "matchingPrecedence"),
            .text("DistinguisherMethod", at: "spec", "distinguisherMethod", "type", absent: none), .age,
            .text("MissingPL") { source in
                let conditions = source.object[path: "status", "conditions"] ?? .null
                let status = conditions.element(where: "type", is: "Dangling")?.text("status") ?? ""
                return status.isEmpty ? "?" : status
            },
        ],
        "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": [
            .name, .text("Type", at: "spec", "type"),
            .text("NominalConcurrencyShares", at: "spec", "limited", "nominalConcurrencyShares", absent: none),
            .text("Queues", at: "spec", "limited", "limitResponse", "queuing", "queues", absent: none),
            .text("HandSize", at: "spec", "limited", "limitResponse", "queuing", "handSize", absent: none),
            .text(
                "QueueLengthLimit", at: "spec", "limited", "limitResponse", "queuing", "queueLengthLimit", absent: none),
            .age,
        ],
        "apiregistration.k8s.io/APIService": [
            .name,
            .text("Service") { source in
                guard let service = source.object[path: "spec", "service"], service != .null else { return "Local" }
                return "\(service.text("namespace"))/\(service.text("name"))"
            },
            .text("Available") { source in
                let conditions = source.object[path: "status", "conditions"] ?? .null
                guard let available = conditions.element(where: "type", is: "Available") else { return "Unknown" }
                let status = available.text("status")
                return status == "True" ? status : "\(status) (\(available.text("reason")))"
            },
            .age,
        ],
    ]

    private static let storage: [String: [TableColumn]] = [
        "/PersistentVolume": [
            .name, .text("Capacity", at: "spec", "capacity", "storage"),
            .text("Access Modes") { accessModes($0.object.list("spec", "accessModes")) },
            .text("Reclaim Policy", at: "spec", "persistentVolumeReclaimPolicy"),
            .text("Status") { source in
                source.object[path: "metadata", "deletionTimestamp"] != nil
                    ? "Terminating" : source.object.text("status", "phase")
            },
            .text("Claim") { source in
                guard let claim = source.object[path: "spec", "claimRef"] else { return "" }
                return "\(claim.text("namespace"))/\(claim.text("name"))"
            },
            .text("StorageClass", at: "spec", "storageClassName"),
            .text("VolumeAttributesClass", at: "spec", "volumeAttributesClassName", absent: "<unset>"),
            .text("Reason", at: "status", "reason"), .age,
            .text("VolumeMode", at: "spec", "volumeMode", absent: "<unset>").wide,
        ],
        "/PersistentVolumeClaim": [
            .name,
            .text("Status") { source in
                source.object[path: "metadata", "deletionTimestamp"] != nil
                    ? "Terminating" : source.object.text("status", "phase")
            },
            .text("Volume", at: "spec", "volumeName"), .text("Capacity", at: "status", "capacity", "storage"),
            .text("Access Modes") { accessModes($0.object.list("status", "accessModes")) },
            .text("StorageClass", at: "spec", "storageClassName"),
            .text("VolumeAttributesClass", at: "spec", "volumeAttributesClassName", absent: "<unset>"), .age,
            .text("VolumeMode", at: "spec", "volumeMode", absent: "<unset>").wide,
        ],
        "storage.k8s.io/StorageClass": [
            .text("Name") { source in
                let key = "storageclass.kubernetes.io/is-default-class"
                let name = source.object.text("metadata", "name")
                return source.object.text("metadata", "annotations", key) == "true" ? "\(name) (default)" : name
            },
            .text("Provisioner", at: "provisioner"), .text("ReclaimPolicy", at: "reclaimPolicy", absent: "Delete"),
            .text("VolumeBindingMode", at: "volumeBindingMode", absent: "<unset>"),
            .boolean("AllowVolumeExpansion") { $0.object["allowVolumeExpansion"] == .bool(true) }, .age,
        ],
    ]

    private static let binding: [TableColumn] = [
        .name, .text("Role") { "\($0.object.text("roleRef", "kind"))/\($0.object.text("roleRef", "name"))" }, .age,
        .text("Users") { subjects($0.object, "User") }.wide, .text("Groups") { subjects($0.object, "Group") }.wide,
        .text("ServiceAccounts") { subjects($0.object, "ServiceAccount") }.wide,
    ]

    private static let webhooks: [TableColumn] = [
        .name, .number("Webhooks") { $0.object.list("webhooks").count }, .age,
    ]

    private static func eventColumns(
        _ subject: String, _ source: String, _ message: String, _ first: String, _ last: String, _ count: String
    ) -> [TableColumn] {
        [
            .text("Last Seen") { row in
                if row.object[path: "series", "lastObservedTime"] != nil {
                    return row.age("series", "lastObservedTime")
                }
                return row.object.text(last).isEmpty ? row.age("eventTime") : row.age(last)
            },
            .text("Type", at: "type"), .text("Reason", at: "reason"),
            .text("Object") { row in
                let kind = row.object.text(subject, "kind").lowercased()
                let name = row.object.text(subject, "name")
                return name.isEmpty ? kind : "\(kind)/\(name)"
            },
            .text("Subobject", at: subject, "fieldPath").wide,
            .text("Source") { row in
                [row.object.text(source, "component"), row.object.text(source, "host")].filter { !$0.isEmpty }
                    .joined(separator: ", ")
            }.wide,
            .text("Message") { row in
                let text = row.object.text(message)
                let isSpace = { (character: Character) in character.isWhitespace }
                return String(text.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
            },
            .text("First Seen") { $0.object.text(first).isEmpty ? $0.age("eventTime") : $0.age(first) }.wide,
            .number("Count") { row in
                if let count = row.object[path: "series", "count"]?.int { return Int(count) }
                return Int(max(1, row.object.number(count)))
            }.wide,
            TableColumn.name.wide,
        ]
    }

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

    private static func externalAddress(_ service: JSONValue) -> String {
        let external = service.list("spec", "externalIPs").compactMap(\.string)
        switch service.text("spec", "type") {
        case "ExternalName": return service.text("spec", "externalName")
        case "LoadBalancer":
            let all = loadBalancerAddresses(service) + external
            return all.isEmpty ? "<pending>" : all.joined(separator: ",")
        default: return external.isEmpty ? none : external.joined(separator: ",")
        }
    }

    private static func loadBalancerAddresses(_ object: JSONValue) -> [String] {
        object.list("status", "loadBalancer", "ingress").map {
            $0.text("ip").isEmpty ? $0.text("hostname") : $0.text("ip")
        }
        .filter { !$0.isEmpty }
    }

    private static func hostPort(_ host: String, _ port: Int64) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private static func nodeStatus(_ node: JSONValue) -> String {
        let conditions = node[path: "status", "conditions"] ?? .null
        var words: [String]
        switch conditions.element(where: "type", is: "Ready")?.text("status") {
        case "True": words = ["Ready"]
        case nil: words = ["Unknown"]
        default: words = ["NotReady"]
        }
        if node[path: "spec", "unschedulable"] == .bool(true) { words.append("SchedulingDisabled") }
        return words.joined(separator: ",")
    }

    private static func nodeRoles(_ node: JSONValue) -> String {
        var roles = Set<String>()
        for (key, value) in node[path: "metadata", "labels"]?.object ?? [:] {
            if key.hasPrefix("node-role.kubernetes.io/") {
                roles.insert(String(key.dropFirst("node-role.kubernetes.io/".count)))
            } else if key == "kubernetes.io/role" {
                roles.insert(value.string ?? "")
            }
        }
        roles.remove("")
        return roles.isEmpty ? none : roles.sorted().joined(separator: ",")
    }

    private static func nodeAddress(_ node: JSONValue, _ type: String) -> String {
        (node[path: "status", "addresses"] ?? .null).element(where: "type", is: type)?.text("address") ?? none
    }

    private static func quota(_ object: JSONValue, limits: Bool) -> String {
        (object[path: "status", "hard"]?.object ?? [:]).filter { $0.key.hasPrefix("limits.") == limits }.map { entry in
            let used = object[path: "status", "used"]?[entry.key]?.plainText ?? "0"
            return "\(entry.key): \(used)/\(entry.value.plainText)"
        }.joined(separator: ", ")
    }

    private static func subjects(_ object: JSONValue, _ kind: String) -> String {
        object.list("subjects").filter { $0.text("kind") == kind }.map {
            kind == "ServiceAccount" ? "\($0.text("namespace"))/\($0.text("name"))" : $0.text("name")
        }.joined(separator: ", ")
    }

    private static func accessModes(_ modes: [JSONValue]) -> String {
        let short = [
            "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
        ]
        return modes.compactMap { short[$0.string ?? ""] }.joined(separator: ",")
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
