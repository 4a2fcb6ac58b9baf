import ClusterAPI
import JSON

/// Amounts of what a pod asks for and a node has: CPU in thousandths of a core, all else in whole units (bytes, devices).
struct Resources: Hashable, Sendable {
    var milliCPU: Int64 = 0
    var memory: Int64 = 0
    var ephemeralStorage: Int64 = 0
    var others: [String: Int64] = [:]

    init() {}

    /// From a resource list (`requests`, `allocatable`); what cannot be read counts as nothing, validation refuses it earlier.
    init(_ list: JSONValue?) {
        for (name, value) in list?.object ?? [:] {
            guard let quantity = Quantity(json: value) else { continue }
            switch name {
            case "cpu": milliCPU = quantity.milliValue
            case "memory": memory = quantity.value
            case "ephemeral-storage": ephemeralStorage = quantity.value
            case "pods": break
            default: others[name] = quantity.value
            }
        }
    }

    static func += (a: inout Resources, b: Resources) {
        a.milliCPU = saturatingSum(a.milliCPU, b.milliCPU)
        a.memory = saturatingSum(a.memory, b.memory)
        a.ephemeralStorage = saturatingSum(a.ephemeralStorage, b.ephemeralStorage)
        for (name, amount) in b.others { a.others[name] = saturatingSum(a.others[name] ?? 0, amount) }
    }

    static func -= (a: inout Resources, b: Resources) {
        a.milliCPU -= b.milliCPU
        a.memory -= b.memory
        a.ephemeralStorage -= b.ephemeralStorage
        for (name, amount) in b.others { a.others[name, default: 0] -= amount }
    }

    /// The larger of each amount.
    func joined(_ other: Resources) -> Resources {
        var result = self
        result.milliCPU = max(milliCPU, other.milliCPU)
        result.memory = max(memory, other.memory)
        result.ephemeralStorage = max(ephemeralStorage, other.ephemeralStorage)
        result.others.merge(other.others) { max($0, $1) }
        return result
    }
}

private func saturatingSum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : sum
}

/// What a pod needs while it runs: its containers and sidecars together, or its largest init container, plus overhead.
func podRequests(_ pod: KubeObject) -> Resources {
    var running = Resources()
    for container in pod.spec["containers"]?.array ?? [] { running += Resources(container["resources"]?["requests"]) }
    var sidecars = Resources()
    var largestInit = Resources()
    for container in pod.spec["initContainers"]?.array ?? [] {
        let request = Resources(container["resources"]?["requests"])
        if container["restartPolicy"]?.string == "Always" {
            sidecars += request
            largestInit = largestInit.joined(sidecars)
        } else {
            var during = request
            during += sidecars
            largestInit = largestInit.joined(during)
        }
    }
    running += sidecars
    var total = running.joined(largestInit)
    total += Resources(pod.spec["overhead"])
    return total
}
