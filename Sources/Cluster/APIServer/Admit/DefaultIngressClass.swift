import ClusterAPI
import JSON

/// An Ingress that names no class gets the default one when it is made; of several defaults the newest. The annotation that named classes
/// before IngressClass was there counts as naming one.
struct DefaultIngressClass: AdmissionPlugin {
    private static let ingresses = GroupVersionResource(group: "networking.k8s.io", resource: "ingresses")
    private static let classes = GroupVersionResource(group: "networking.k8s.io", resource: "ingressclasses")
    private static let mark = "ingressclass.kubernetes.io/is-default-class"
    private static let olderName = "kubernetes.io/ingress.class"

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard call.resource.gvr == Self.ingresses, call.subresource.isEmpty, old == nil,
            object["spec"]?["ingressClassName"] == nil,
            object["metadata"]?["annotations"]?[Self.olderName] == nil,
            let classes = registry.schema.resource(Self.classes)
        else { return }
        func time(_ candidate: JSONValue) -> String { candidate["metadata"]?["creationTimestamp"]?.string ?? "" }
        func name(_ candidate: JSONValue) -> String { candidate["metadata"]?["name"]?.string ?? "" }
        let defaults = try await registry.storage.all(classes).filter {
            $0["metadata"]?["annotations"]?[Self.mark]?.string == "true"
        }
        // Of those of one second the first by name.
        guard let newest = defaults.max(by: { (time($0), name($1)) < (time($1), name($0)) }) else { return }
        object["spec"]?["ingressClassName"] = .string(name(newest))
    }
}
