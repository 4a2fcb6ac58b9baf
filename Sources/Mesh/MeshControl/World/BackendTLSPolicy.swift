import ClusterAPI
import ClusterClient
import JSON

/// How gateways speak TLS to a Service's pods.
struct BackendTLSPolicy: APIDecodable, Hashable {
    let key: ObjectKey
    let generation: Int64
    let created: String
    /// `spec.targetRefs`: Services of the same namespace, and "" or the name of one of their ports.
    let targets: [(service: ObjectKey, section: String)]
    let authorities: [JSONValue]
    let usesSystemAuthorities: Bool
    let hostname: String
    let names: [JSONValue]
    let statuses: [JSONValue]
    let resourceVersion: String

    init(_ object: KubeObject) {
        let key = object.key
        self.key = key
        generation = object.generation
        created = object.creationTimestamp ?? ""
        targets = object.spec.list("targetRefs").filter {
            $0.text("group").isEmpty && $0.text("kind") == "Service"
        }.map { (ObjectKey(namespace: key.namespace, name: $0.text("name")), $0.text("sectionName")) }
        let validation = object.spec["validation"] ?? .null
        authorities = validation.list("caCertificateRefs")
        usesSystemAuthorities = validation.text("wellKnownCACertificates") == "System"
        hostname = validation.text("hostname")
        names = validation.list("subjectAltNames")
        statuses = object.status.list("ancestors")
        resourceVersion = object.resourceVersion
    }

    var services: Set<ObjectKey> { Set(targets.map(\.service)) }

    static func == (a: Self, b: Self) -> Bool { a.key == b.key && a.resourceVersion == b.resourceVersion }
    func hash(into hasher: inout Hasher) { hasher.combine(key) }

    /// All but the status.
    func says(_ other: Self) -> Bool { generation == other.generation && created == other.created }
}

extension MeshWorld {
    /// The policy that is in force for a Service's port: one that names the port before one for all, then the oldest.
    func policy(for service: ObjectKey, _ port: MeshService.Port) -> BackendTLSPolicy? {
        let found = (policed[service] ?? []).compactMap { backendPolicies[$0] }
        func best(_ section: String) -> BackendTLSPolicy? {
            found.filter { $0.targets.contains { $0.service == service && $0.section == section } }
                .min { ($0.created, $0.key) < ($1.created, $1.key) }
        }
        return (port.name.isEmpty ? nil : best(port.name)) ?? best("")
    }

    /// Whom a policy trusts.
    struct Trust {
        /// Certificates of authorities; nil is the system's own.
        var pem: String?
        var resolved: Condition

        /// References that lead nowhere are left out; where none is left, nobody can be trusted.
        var isUsable: Bool { pem?.isEmpty != true }
    }

    func trust(_ policy: BackendTLSPolicy) -> Trust {
        let fine = Condition("ResolvedRefs", true, "ResolvedRefs", "all references lead somewhere")
        if policy.usesSystemAuthorities { return Trust(pem: nil, resolved: fine) }
        var pems: [String] = []
        var refused: Condition?
        for reference in policy.authorities {
            switch authorities(reference, of: "BackendTLSPolicy", in: policy.key.namespace) {
            case .found(let pem): pems.append(pem)
            case .refused(let reason, let message):
                refused = refused ?? Condition("ResolvedRefs", false, reason, message)
            }
        }
        return Trust(pem: pems.joined(separator: "\n"), resolved: refused ?? fine)
    }
}
