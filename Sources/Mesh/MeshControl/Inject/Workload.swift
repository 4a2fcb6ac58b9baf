import JSON

/// What a pod is one of: the Deployment, Job or whatever its owner stands for.
struct Workload: Equatable {
    var name: String
    var kind: String
    var apiVersion: String

    init(name: String, kind: String, apiVersion: String) {
        (self.name, self.kind, self.apiVersion) = (name, kind, apiVersion)
    }

    init(pod: JSONValue) {
        let metadata = pod["metadata"]
        let labels = metadata?["labels"]
        let owner = (metadata?["ownerReferences"]?.array ?? []).first { $0["controller"]?.bool == true }
        name = metadata?["name"]?.string ?? ""
        (kind, apiVersion) = ("Pod", "v1")
        guard let owner, let ownerName = owner["name"]?.string, let ownerKind = owner["kind"]?.string else {
            if name.isEmpty { name = Self.withoutDash(metadata?["generateName"]?.string ?? "") }
            return
        }
        (name, kind, apiVersion) = (ownerName, ownerKind, owner["apiVersion"]?.string ?? "")
        switch kind {
        case "ReplicaSet":
            // A Deployment names its ReplicaSets after itself and the template's hash.
            guard let hash = labels?["pod-template-hash"]?.string, ownerName.hasSuffix("-" + hash) else { break }
            (name, kind) = (String(ownerName.dropLast(hash.utf8.count + 1)), "Deployment")
        case "Job":
            // A CronJob names its Jobs after itself and the minute.
            guard let dash = ownerName.lastIndex(of: "-") else { break }
            let minute = ownerName[ownerName.index(after: dash)...]
            guard minute.utf8.count >= 8, minute.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { break }
            (name, kind) = (String(ownerName[..<dash]), "CronJob")
        default: break
        }
    }

    private static func withoutDash(_ text: String) -> String { text.hasSuffix("-") ? String(text.dropLast()) : text }

    /// The workload's path in the API, as Istio writes it into metadata.
    func owner(in namespace: String) -> String {
        "kubernetes://apis/\(apiVersion)/namespaces/\(namespace)/\(kind.lowercased())s/\(name)"
    }
}
