import ClusterAPI
import JSON
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// Pods, Services and policies, and what a pod's own proxy gets of them.
struct MeshPodsWorld {
    var model = MeshModel(domain: "cluster.local")

    mutating func pod(
        _ name: String, in namespace: String = "shop", account: String = "cart", _ labels: [String: String],
        notCaptured: String = "", isMeshed: Bool = true
    ) {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
        object.json["metadata"]?["labels"] = .object(
            labels.reduce(into: JSONObject()) { $0[$1.key] = .string($1.value) })
        if isMeshed {
            object.json["metadata"]?["annotations"] = [
                MeshPod.statusAnnotation: "{}", "mesh.weft.dev/excludeInboundPorts": .string(notCaptured),
            ]
        }
        object.json["metadata"]?["ownerReferences"] = [["kind": "ReplicaSet", "name": "cart-5f", "controller": true]]
        object.json["spec"] = [
            "serviceAccountName": .string(account),
            "containers": [["name": "app", "ports": [["name": "web", "containerPort": 8080]]]],
        ]
        model.set(MeshPod(object), object.key)
    }

    mutating func service(_ name: String, _ selector: JSONValue, _ ports: JSONValue...) {
        var object = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        object.json["spec"] = ["selector": selector, "ports": .array(ports)]
        model.set(MeshService(object), object.key)
    }

    mutating func peers(_ name: String, in namespace: String = "shop", created: String = "1", _ spec: JSONValue) {
        var object = KubeObject(
            apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", namespace: namespace, name: name)
        object.json["metadata"]?["creationTimestamp"] = .string(created)
        object.json["spec"] = spec
        model.set(StoredPolicy<PeerAuthentication>(object), object.key)
    }

    mutating func authorization(
        _ name: String, in namespace: String = "shop", _ spec: JSONValue, annotations: [String: String] = [:],
        conditions: [JSONValue] = []
    ) {
        var object = KubeObject(
            apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", namespace: namespace, name: name)
        object.json["spec"] = spec
        object.annotations = annotations
        object.json["status"] = ["conditions": .array(conditions)]
        model.set(StoredPolicy<AuthorizationPolicy>(object), object.key)
    }

    mutating func requests(_ name: String, in namespace: String = "shop", _ spec: JSONValue) {
        var object = KubeObject(
            apiVersion: "security.istio.io/v1", kind: "RequestAuthentication", namespace: namespace, name: name)
        object.json["spec"] = spec
        model.set(StoredPolicy<RequestAuthentication>(object), object.key)
    }

    func shape(_ name: String) throws -> InboundShape {
        try #require(model.inboundShape(of: ObjectKey(namespace: "shop", name: name)))
    }

    /// By kind and name, once Envoy's own rules hold for all of it.
    func resources(_ name: String) throws -> [String: JSONValue] {
        let changes = try InboundTranslation(trustDomain: "cluster.local", shape: shape(name)).changes()
        return try changes.reduce(into: [:]) { all, change in
            let type = try #require(Message(change.kind.rawValue)?.type)
            let message = try Message(binary: #require(change.message), type: type)
            _ = try ConfigNode(message, from: ConfigText(name: change.name))
            all["\(change.kind.service) \(change.name)"] = message.json()
        }
    }

    func chains(_ name: String) throws -> [String] {
        try #require(resources(name)["lds virtualInbound"]).list("filter_chains").map { $0.text("name") }
    }

    /// The policies whose statuses have to be looked at since the last call.
    mutating func statuses() -> Set<String> {
        _ = model.changes()
        return Set(
            model.gatewayChanges().statuses.compactMap { target -> String? in
                if case .meshPolicy(let key) = target { return "\(key)" }
                return nil
            })
    }
}
