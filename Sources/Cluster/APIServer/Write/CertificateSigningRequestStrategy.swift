import ClusterAPI
import JSON

/// What is asked for stays as it was, and who may say what of it is a matter of the subresource: `approval` has the decision, `status` the
/// certificate.
struct CertificateSigningRequestStrategy: ResourceStrategy {
    var hasStatus: Bool { true }
    var statusWriters: Set<String> { ["approval"] }

    private static let decisions: Set<String> = ["Approved", "Denied"]

    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String) {
        guard subresource == "approval" else { return object["spec"] = old["spec"] }
        let conditions = object["status"]?["conditions"]
        object = old
        var status = old["status"] ?? [:]
        status["conditions"] = conditions
        object["status"] = status
    }

    func prepareForStatusUpdate(_ object: inout JSONValue, old: JSONValue) {
        func conditions(_ object: JSONValue, _ areDecisions: Bool) -> [JSONValue] {
            (object["status"]?["conditions"]?.array ?? []).filter {
                Self.decisions.contains($0["type"]?.string ?? "") == areDecisions
            }
        }
        let all = conditions(old, true) + conditions(object, false)
        guard !all.isEmpty || object["status"]?["conditions"] != nil else { return }
        var status = object["status"] ?? [:]
        status["conditions"] = .array(all)
        object["status"] = status
    }
}
