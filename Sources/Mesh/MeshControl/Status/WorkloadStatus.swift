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
        var deciders = JSONObject()
        for port in modes.keys {
            guard let number = Int(port) else { continue }
            deciders[port] = model.world.policies.decider(of: pod, port: number).map { .string("\($0)") }
        }
        return [
            "namespace": .string(key.namespace), "pod": .string(key.name), "serviceAccount": .string(pod.account),
            "workload": .string(pod.workload), "meshed": .bool(pod.isMeshed),
            "mode": .string(shape.modes.general.rawValue), "portModes": .object(modes),
            "portModesFrom": .object(deciders),
            "authorizationPolicies": .array(
                (shape.authorizations.whole.map { ($0, []) } + Self.atPorts(shape)).map { policy, ports in
                    [
                        "namespace": .string(policy.key.namespace), "name": .string(policy.key.name),
                        "action": .string(policy.action?.rawValue ?? ""), "dryRun": .bool(policy.isDry),
                        "provider": .string(policy.provider ?? ""),
                        "rules": .array(policy.rules), "ports": .array(ports.map { .int(Int64($0)) }),
                    ]
                }),
        ]
    }

    /// Those that hold at some ports only.
    private static func atPorts(_ shape: InboundShape) -> [(AuthorizationPolicy, [Int])] {
        var ports: [AuthorizationPolicy: [Int]] = [:]
        for (port, policies) in shape.authorizations.ports {
            for policy in policies { ports[policy, default: []].append(port) }
        }
        return ports.map { ($0.key, $0.value.sorted()) }.sorted { $0.0.key < $1.0.key }
    }
}
