import ClusterAPI
import JSON

extension MeshControlPlane {
    /// How a pod may be reached, and by whom, as its sidecar is told; nil for a pod that is not known. On the loop.
    func workload(_ key: ObjectKey) -> JSONValue? {
        guard let pod = model.world.pods[key], let shape = model.inboundShape(of: key) else { return nil }
        var modes = JSONObject()
        for port in shape.ports {
            modes["\(port.number)"] = .string(shape.modes.mode(port.number, port.spoken).rawValue)
        }
        for (port, mode) in shape.modes.ports.sorted(by: { $0.key < $1.key }) where modes["\(port)"] == nil {
            modes["\(port)"] = .string(mode.rawValue)
        }
        return [
            "namespace": .string(key.namespace), "pod": .string(key.name), "serviceAccount": .string(pod.account),
            "workload": .string(pod.workload), "meshed": .bool(pod.isMeshed),
            "mode": .string(shape.modes.general.rawValue), "portModes": .object(modes),
            "authorizationPolicies": .array(
                shape.authorizations.map { policy in
                    [
                        "namespace": .string(policy.key.namespace), "name": .string(policy.key.name),
                        "action": .string(policy.action?.rawValue ?? ""), "dryRun": .bool(policy.isDry),
                        "rules": .array(policy.rules),
                    ]
                }),
        ]
    }
}
