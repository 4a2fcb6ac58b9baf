import Bytes
import ClusterAPI
public import JSON

/// Injection as a mutating admission webhook: an AdmissionReview in, the same with a response out. Pure.
public struct InjectionReview: Sendable {
    private let injector: PodInjector

    public init(_ injector: PodInjector) { self.injector = injector }

    /// - Parameter namespaceLabels: asked for the labels of the pod's namespace.
    /// - Returns: the review to answer with; nil when the body is none of `admission.k8s.io/v1`.
    public func answer(
        _ body: JSONValue, namespaceLabels: (String) async throws -> [String: String]
    ) async -> JSONValue? {
        guard body["kind"]?.string == "AdmissionReview", body["apiVersion"]?.string == "admission.k8s.io/v1",
            let request = body["request"], let uid = request["uid"]?.string
        else { return nil }
        var response: JSONValue = ["uid": .string(uid), "allowed": true]
        let isPod = request["kind"]?["kind"]?.string == "Pod" && request["kind"]?["group"]?.string ?? "" == ""
        if isPod, request["operation"]?.string == "CREATE", (request["subResource"]?.string ?? "").isEmpty,
            let pod = request["object"]
        {
            let namespace = request["namespace"]?.string ?? ""
            do {
                let outcome = try injector.inject(
                    pod, namespace: namespace, namespaceLabels: try await namespaceLabels(namespace))
                if let injected = outcome.pod {
                    response["patchType"] = "JSONPatch"
                    response["patch"] = .string(Base64.encode(Self.patch(from: pod, to: injected).encoded()))
                }
                if !outcome.warnings.isEmpty { response["warnings"] = .array(outcome.warnings.map { .string($0) }) }
            } catch {
                response["allowed"] = false
                response["status"] = ["code": 400, "message": .string("\(error)"), "reason": "BadRequest"]
            }
        }
        return ["apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response]
    }

    /// Whole fields of the pod that differ; every other part of the object is left to whoever changes it at the same time.
    static func patch(from old: JSONValue, to new: JSONValue) -> JSONValue {
        var operations: [JSONValue] = []
        for (part, field) in [
            ("spec", "initContainers"), ("spec", "containers"), ("spec", "volumes"), ("metadata", "annotations"),
        ] {
            guard let value = new[part]?[field], value != old[part]?[field] else { continue }
            operations.append(["op": "add", "path": .string("/\(part)/\(field)"), "value": value])
        }
        return .array(operations)
    }
}
