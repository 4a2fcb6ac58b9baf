import ClusterAPI
import JSON

/// Looks at an object on its way in: changes it, lets it pass, or refuses it.
protocol AdmissionPlugin: Sendable {
    /// - Parameter old: what is being replaced; nil on create.
    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError)

    func admitDelete(_ call: APICall, in registry: Registry) async throws(StatusError)
}

extension AdmissionPlugin {
    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {}

    func admitDelete(_ call: APICall, in registry: Registry) async throws(StatusError) {}
}

/// The plug-ins in upstream's order, then what other rooms add. Quota comes between the last of these and storage.
struct AdmissionChain: Sendable {
    let plugins: [any AdmissionPlugin]
    /// For objects that are made.
    var added: [any CreationAdmission] = []

    static func standard(adding added: [any CreationAdmission] = []) -> AdmissionChain {
        AdmissionChain(
            plugins: [
                NamespaceLifecycle(), ServiceAccountAdmission(), PriorityAdmission(), DefaultTolerations(),
                CertificateRequestAdmission(), DefaultIngressClass(),
            ],
            added: added)
    }

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        for plugin in plugins { try await plugin.admit(&object, old: old, call, in: registry) }
    }

    func admitDelete(_ call: APICall, in registry: Registry) async throws(StatusError) {
        for plugin in plugins { try await plugin.admitDelete(call, in: registry) }
    }
}

/// Nothing is made in a namespace that is missing or dying, and the cluster's own namespaces stay.
struct NamespaceLifecycle: AdmissionPlugin {
    private static let immortal: Set<String> = ["default", "kube-system", "kube-public"]

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard old == nil, call.resource.namespaced, let namespaces = registry.schema.resource(.namespaces) else {
            return
        }
        let key = ObjectKey(name: call.namespace)
        guard let namespace = try await registry.storage.find(namespaces, key) else {
            throw .notFound(.namespaces, call.namespace)
        }
        guard try namespace.json()["metadata"]?["deletionTimestamp"] == nil else {
            throw .namespaceTerminating(
                call.resource.gvr, object["metadata"]?["name"]?.string ?? "", namespace: call.namespace)
        }
    }

    func admitDelete(_ call: APICall, in registry: Registry) async throws(StatusError) {
        if call.resource.gvr == .namespaces, Self.immortal.contains(call.name) {
            throw .forbidden(.namespaces, name: call.name, "this namespace may not be deleted")
        }
    }
}

/// Pods get the tolerations that keep them for a while on a node that is lost.
struct DefaultTolerations: AdmissionPlugin {
    private static let seconds: JSONValue = 300
    private static let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard call.resource.gvr == .pods, call.subresource.isEmpty, old == nil else { return }
        var tolerations = object["spec"]?["tolerations"]?.array ?? []
        for key in Self.keys {
            let isCovered = tolerations.contains { toleration in
                let own = toleration["key"]?.string ?? ""
                let effect = toleration["effect"]?.string ?? ""
                return (own == key || own.isEmpty) && (effect == "NoExecute" || effect.isEmpty)
            }
            if isCovered { continue }
            tolerations.append([
                "key": .string(key), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": Self.seconds,
            ])
        }
        object["spec"]?["tolerations"] = .array(tolerations)
    }
}

/// Turns a pod's priority class into its number.
struct PriorityAdmission: AdmissionPlugin {
    static let systemClasses: [(name: String, value: Int64)] = [
        ("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000),
    ]

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard call.resource.gvr == .pods, call.subresource.isEmpty, old == nil,
            let classes = registry.schema.resource(.priorityClasses)
        else { return }
        var name = object["spec"]?["priorityClassName"]?.string ?? ""
        var value: Int64 = 0
        var preemption: JSONValue = "PreemptLowerPriority"
        if name.isEmpty {
            let all = try await registry.storage.all(classes)
            if let standard = all.first(where: { $0["globalDefault"]?.bool == true }) {
                name = standard["metadata"]?["name"]?.string ?? ""
                value = standard["value"]?.int ?? 0
                preemption = standard["preemptionPolicy"] ?? preemption
            }
        } else {
            guard let found = try await registry.storage.find(classes, ObjectKey(name: name)) else {
                throw .forbidden(
                    .pods, name: object["metadata"]?["name"]?.string ?? "",
                    "no PriorityClass with name \(name) was found")
            }
            let json = try found.json()
            value = json["value"]?.int ?? 0
            preemption = json["preemptionPolicy"] ?? preemption
        }
        if let asked = object["spec"]?["priority"]?.int, asked != value {
            throw .forbidden(
                .pods, name: object["metadata"]?["name"]?.string ?? "",
                "the integer value of priority (\(asked)) must not be provided in pod spec; priority admission controller computed \(value) from the given PriorityClass name"
            )
        }
        if !name.isEmpty { object["spec"]?["priorityClassName"] = .string(name) }
        object["spec"]?["priority"] = .int(value)
        if object["spec"]?["preemptionPolicy"] == nil { object["spec"]?["preemptionPolicy"] = preemption }
    }
}
