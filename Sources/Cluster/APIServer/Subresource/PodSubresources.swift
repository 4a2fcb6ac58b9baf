import ClusterAPI
import JSON

/// What can be done to pods beside writing them.
extension Registry {
    /// POST of a Binding: the scheduler's word on where a pod runs, said once.
    func bind(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try WriteOptions(call.parameters)
        let binding = try call.requireBody().json
        let target = binding["target"]
        guard target?["kind"]?.string ?? "Node" == "Node", let node = target?["name"]?.string, !node.isEmpty else {
            throw .invalid(
                GroupVersionKind(kind: "Binding"), call.name,
                [.required("target.name", "a binding's target must be a Node")])
        }
        var pod = call
        if pod.name.isEmpty { pod.name = binding["metadata"]?["name"]?.string ?? "" }
        guard let pods = schema.resource(.pods), !pod.name.isEmpty else {
            throw .badRequest("a binding must name its pod")
        }
        pod.resource = pods
        pod.subresource = "binding"
        _ = try await change(pod, dryRun: options.dryRun) { old throws(StatusError) in
            var object = old
            if let uid = binding["metadata"]?["uid"]?.string, !uid.isEmpty, uid != old["metadata"]?["uid"]?.string {
                throw .uidConflict(
                    .pods, pod.name, expected: uid, found: old["metadata"]?["uid"]?.string ?? "")
            }
            if old["metadata"]?["deletionTimestamp"] != nil {
                throw .conflict(.pods, pod.name, "pod \(pod.name) is being deleted, cannot be assigned to a host")
            }
            if let bound = old["spec"]?["nodeName"]?.string, !bound.isEmpty {
                throw .conflict(.pods, pod.name, "pod \(pod.name) is already assigned to node \"\(bound)\"")
            }
            object["spec"]?["nodeName"] = .string(node)
            if let annotations = binding["metadata"]?["annotations"]?.object {
                var all = object["metadata"]?["annotations"] ?? .object(JSONObject())
                for (key, value) in annotations { all[key] = value }
                object["metadata"]?["annotations"] = all
            }
            setCondition("PodScheduled", "True", in: &object)
            return object
        }
        return APIAnswer(
            code: 201,
            content: .json(["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "code": 201]))
    }

    private func setCondition(_ type: String, _ status: String, in object: inout JSONValue) {
        var conditions = object["status"]?["conditions"]?.array ?? []
        conditions.removeAll { $0["type"]?.string == type }
        conditions.append([
            "type": .string(type), "status": .string(status), "lastTransitionTime": Self.timestamp(),
            "lastProbeTime": .null,
        ])
        var all = object["status"] ?? .object(JSONObject())
        all["conditions"] = .array(conditions)
        object["status"] = all
    }

    /// POST of an Eviction: a delete that disruption budgets may forbid for now.
    func evict(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let eviction = try call.requireBody().json
        let pod = try await storage.get(call.resource, call.key).json()
        let phase = pod["status"]?["phase"]?.string ?? ""
        let isCounted = phase == "Running" && pod["metadata"]?["deletionTimestamp"] == nil
        if isCounted { try await askBudgets(for: pod, call) }
        var delete = call
        delete.verb = .delete
        delete.subresource = ""
        delete.body = eviction["deleteOptions"].map { DecodedBody(json: $0) }
        var options = try DeleteOptions(delete)
        if try WriteOptions(call.parameters).dryRun { options.dryRun = true }
        options.expectedUID = options.expectedUID ?? pod["metadata"]?["uid"]?.string
        _ = try await self.delete(delete, options)
        return APIAnswer(
            code: 201,
            content: .json(["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "code": 201]))
    }

    private func askBudgets(for pod: JSONValue, _ call: APICall) async throws(StatusError) {
        let gvr = GroupVersionResource(group: "policy", version: "v1", resource: "poddisruptionbudgets")
        guard let budgets = schema.resource(gvr) else { return }
        let matching = try await storage.all(budgets, namespace: call.namespace).filter { budget in
            guard let selector = budget["spec"]?["selector"] else { return false }
            return LabelSelector(selector)?.matches(pod["metadata"]?["labels"]) ?? false
        }
        guard matching.count <= 1 else {
            throw .internalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
        }
        guard let budget = matching.first else { return }
        let name = budget["metadata"]?["name"]?.string ?? ""
        let isObserved =
            (budget["status"]?["observedGeneration"]?.int ?? 0) >= (budget["metadata"]?["generation"]?.int ?? 0)
        let allowed = budget["status"]?["disruptionsAllowed"]?.int ?? 0
        guard !isObserved || allowed <= 0 else { return }
        throw .tooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.", retryAfterSeconds: isObserved ? 0 : 10,
            causes: [
                .init(
                    type: "DisruptionBudget",
                    message: isObserved
                        ? "The disruption budget \(name) needs \(budget["status"]?["desiredHealthy"]?.int ?? 0) healthy pods and has \(budget["status"]?["currentHealthy"]?.int ?? 0) currently"
                        : "The disruption budget \(name) is still being processed by the server.")
            ])
    }
}
