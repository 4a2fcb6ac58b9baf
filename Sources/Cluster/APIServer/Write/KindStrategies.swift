import Bytes
import ClusterAPI
import JSON

struct PodStrategy: ResourceStrategy {
    var hasStatus: Bool { true }
    var hasGeneration: Bool { true }
    var returnsDeletedObject: Bool { true }

    func prepareForCreate(_ object: inout JSONValue) {
        object["status"] = ["phase": "Pending", "qosClass": .string(Self.qualityOfService(object["spec"]))]
    }

    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String) {
        switch subresource {
        case "binding": return
        case "ephemeralcontainers":
            let added = object["spec"]?["ephemeralContainers"]
            object["spec"] = old["spec"]
            object["spec"]?["ephemeralContainers"] = added
        default: object["spec"]?["ephemeralContainers"] = old["spec"]?["ephemeralContainers"]
        }
    }

    func prepareForStatusUpdate(_ object: inout JSONValue, old: JSONValue) {
        // Set once when the pod was made, and true for its life.
        if let before = old["status"]?["qosClass"] { object["status"]?["qosClass"] = before }
    }

    /// A pod that no node has, or whose containers have all ended, has nobody to wait for.
    func gracePeriod(_ object: JSONValue, asked: Int64?) -> Int64 {
        let phase = object["status"]?["phase"]?.string
        if (object["spec"]?["nodeName"]?.string ?? "").isEmpty || phase == "Succeeded" || phase == "Failed" { return 0 }
        let seconds = asked ?? object["spec"]?["terminationGracePeriodSeconds"]?.int ?? 30
        return seconds < 0 ? 1 : seconds
    }

    /// Guaranteed: all limits set and equal to the requests; BestEffort: nothing set; Burstable: the rest.
    static func qualityOfService(_ spec: JSONValue?) -> String {
        let containers = (spec?["containers"]?.array ?? []) + (spec?["initContainers"]?.array ?? [])
        var isGuaranteed = true
        var hasAny = false
        for container in containers {
            let requests = container["resources"]?["requests"]
            let limits = container["resources"]?["limits"]
            for name in ["cpu", "memory"] {
                let request = requests?[name].flatMap(Quantity.init(json:))
                let limit = limits?[name].flatMap(Quantity.init(json:))
                if request.map({ !$0.isZero }) ?? false || limit.map({ !$0.isZero }) ?? false { hasAny = true }
                guard let limit, !limit.isZero, request == nil || request == limit else {
                    isGuaranteed = false
                    continue
                }
            }
        }
        if !hasAny { return "BestEffort" }
        return isGuaranteed ? "Guaranteed" : "Burstable"
    }
}

struct ServiceStrategy: ResourceStrategy {
    var hasStatus: Bool { true }
    var createsOnUpdate: Bool { true }
    var returnsDeletedObject: Bool { true }

    private static let addressFields = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]

    func prepareForCreate(_ object: inout JSONValue) { object["status"] = ["loadBalancer": [:]] }

    /// What a Service has it keeps, also when an older client leaves it out; what its new type has no use for it loses,
    /// also when a patch leaves it in.
    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String) {
        guard var spec = object["spec"] else { return }
        let before = old["spec"]
        let type = spec["type"]?.string ?? "ClusterIP"
        if type == "ExternalName" {
            for field in Self.addressFields where spec[field] == before?[field] { spec[field] = nil }
        } else if before?["type"]?.string != "ExternalName" {
            for field in Self.addressFields where spec[field] == nil || spec[field] == "" || spec[field] == [] {
                spec[field] = before?[field]
            }
        }
        if type != "NodePort", type != "LoadBalancer", type != before?["type"]?.string,
            var ports = spec["ports"]?.array
        {
            let had = Set((before?["ports"]?.array ?? []).compactMap { $0["nodePort"]?.int })
            for index in ports.indices {
                if let port = ports[index]["nodePort"]?.int, had.contains(port) { ports[index]["nodePort"] = nil }
            }
            spec["ports"] = .array(ports)
            if spec["externalTrafficPolicy"] == before?["externalTrafficPolicy"] { spec["externalTrafficPolicy"] = nil }
            if spec["healthCheckNodePort"] == before?["healthCheckNodePort"] { spec["healthCheckNodePort"] = nil }
        }
        object["spec"] = spec
    }
}

struct NamespaceStrategy: ResourceStrategy {
    var hasStatus: Bool { true }
    var returnsDeletedObject: Bool { true }

    func prepareForCreate(_ object: inout JSONValue) {
        object["status"] = ["phase": "Active"]
        var finalizers = object["spec"]?["finalizers"]?.array ?? []
        if !finalizers.contains("kubernetes") { finalizers.append("kubernetes") }
        var spec = object["spec"] ?? .object(JSONObject())
        spec["finalizers"] = .array(finalizers)
        object["spec"] = spec
    }

    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String) {
        if subresource == "finalize" {
            let finalizers = object["spec"]?["finalizers"]
            let metadata = object["metadata"]
            object = old
            object["metadata"] = metadata
            object["spec"] = finalizers.map { ["finalizers": $0] } ?? [:]
        } else {
            object["spec"] = old["spec"]
        }
    }

    func canonicalize(_ object: inout JSONValue) {
        guard let name = object["metadata"]?["name"] else { return }
        var labels = object["metadata"]?["labels"] ?? .object(JSONObject())
        labels["kubernetes.io/metadata.name"] = name
        object["metadata"]?["labels"] = labels
    }

    func prepareForDelete(_ object: inout JSONValue) {
        var status = object["status"] ?? .object(JSONObject())
        status["phase"] = "Terminating"
        object["status"] = status
    }

    func mayVanish(_ object: JSONValue) -> Bool { (object["spec"]?["finalizers"]?.array ?? []).isEmpty }
}

struct NodeStrategy: ResourceStrategy {
    var hasStatus: Bool { true }

    // A node registers together with what it can hold.
    func prepareForCreate(_ object: inout JSONValue) {}
}

struct SecretStrategy: ResourceStrategy {
    /// Plain text for writers' convenience is stored like all other data.
    func canonicalize(_ object: inout JSONValue) {
        guard let plain = object["stringData"]?.object else { return }
        var data = object["data"] ?? .object(JSONObject())
        for (key, value) in plain { if let text = value.string { data[key] = .string(Base64.encode(text.utf8)) } }
        object["data"] = data
        object["stringData"] = nil
    }
}

struct JobStrategy: ResourceStrategy {
    var hasStatus: Bool { true }
    var hasGeneration: Bool { true }

    /// Unless the user does it by hand, a job's pods are told from others by the job's uid.
    func prepareForCreate(_ object: inout JSONValue) {
        object["status"] = nil
        guard object["spec"]?["manualSelector"]?.bool != true, let uid = object["metadata"]?["uid"],
            object["spec"]?["template"] != nil
        else { return }
        let own: [(String, JSONValue)] = [
            ("batch.kubernetes.io/controller-uid", uid), ("controller-uid", uid),
            ("batch.kubernetes.io/job-name", object["metadata"]?["name"] ?? ""),
            ("job-name", object["metadata"]?["name"] ?? ""),
        ]
        var template = object["spec"]?["template"] ?? .null
        var metadata = template["metadata"] ?? .object(JSONObject())
        var labels = metadata["labels"] ?? .object(JSONObject())
        for (key, value) in own { labels[key] = value }
        metadata["labels"] = labels
        template["metadata"] = metadata
        object["spec"]?["template"] = template
        object["spec"]?["selector"] = ["matchLabels": ["batch.kubernetes.io/controller-uid": uid]]
    }
}
