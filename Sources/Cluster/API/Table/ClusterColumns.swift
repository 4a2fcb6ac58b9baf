import JSON

/// The cluster itself: nodes, namespaces, configuration, events, access.
extension KindColumns {
    static let cluster: [String: [TableColumn]] = [
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
}
