import ClusterAPI
import JSON

/// `scale` of workloads: the one number of them that autoscalers and people turn.
extension Registry {
    private static let scaleKind = GroupVersionKind(group: "autoscaling", version: "v1", kind: "Scale")

    func getScale(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let object = try await storage.get(call.resource, call.key).json()
        return APIAnswer(content: .json(scale(of: object)))
    }

    /// PUT and PATCH.
    func updateScale(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try WriteOptions(call.parameters)
        let body = try call.requireBody()
        let stored = try await change(call, dryRun: options.dryRun) { old throws(StatusError) in
            let current = scale(of: old)
            var wanted = body.json
            if call.verb == .patch { wanted = try patched(current, body.json, try patchType(call), Self.scaleKind) }
            let asked = wanted["metadata"]?["resourceVersion"]?.string ?? ""
            var object = old
            if !asked.isEmpty { object["metadata"]?["resourceVersion"] = .string(asked) }
            let replicas = wanted["spec"]?["replicas"]?.int ?? 0
            guard replicas >= 0, replicas <= Int64(Int32.max) else {
                throw .invalid(
                    Self.scaleKind, call.name,
                    [.invalid("spec.replicas", .int(replicas), "must be greater than or equal to 0")])
            }
            object["spec"]?["replicas"] = .int(replicas)
            return object
        }
        return APIAnswer(content: .json(scale(of: try stored.json())))
    }

    private func scale(of object: JSONValue) -> JSONValue {
        var metadata = JSONObject()
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[field] = object["metadata"]?[field]
        }
        let selector = object["spec"]?["selector"]
        // Replication controllers have plain labels here, all others a selector.
        let text =
            selector?["matchLabels"] == nil && selector?["matchExpressions"] == nil
            ? LabelSelector(matchLabels: selector).description : LabelSelector(selector)?.description ?? ""
        var status: JSONValue = ["replicas": object["status"]?["replicas"] ?? 0]
        if !text.isEmpty { status["selector"] = .string(text) }
        let replicas = object["spec"]?["replicas"]?.int ?? 0
        return [
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": .object(metadata),
            "spec": replicas == 0 ? [:] : ["replicas": .int(replicas)], "status": status,
        ]
    }
}
