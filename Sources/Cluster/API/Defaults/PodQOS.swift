public import JSON

/// How much of a node's resources a pod has been promised; decides who is ended first when memory runs out.
public enum PodQOS: String, Sendable {
    case guaranteed = "Guaranteed"
    case burstable = "Burstable"
    case bestEffort = "BestEffort"

    /// Of a pod's spec after defaulting: guaranteed if every container limits CPU and memory and requests just that.
    public init(spec: JSONValue) {
        let resources = ["cpu", "memory"]
        var hasAny = false
        var isGuaranteed = true
        let containers = (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? [])
        for container in containers {
            for resource in resources {
                let limit = Quantity(json: container["resources"]?["limits"]?[resource] ?? .null)
                let request = Quantity(json: container["resources"]?["requests"]?[resource] ?? .null)
                if limit?.isZero == false || request?.isZero == false { hasAny = true }
                if limit == nil || limit?.isZero == true || limit != (request ?? limit) { isGuaranteed = false }
            }
        }
        self = !hasAny ? .bestEffort : isGuaranteed ? .guaranteed : .burstable
    }
}
