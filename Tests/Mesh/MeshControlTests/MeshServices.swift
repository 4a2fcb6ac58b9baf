import Bytes
import ClusterAPI
import JSON
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// A cluster as objects, and what is said to proxies of it, as JSON by kind and name.
struct MeshServices {
    var model = MeshModel(domain: "cluster.local")
    var said: [ResourceKind: [String: JSONValue]] = [:]
    /// What was last said to the callers of namespace `other` alone.
    var apart: [String: [UInt8]] = [:]

    mutating func service(
        _ name: String, in namespace: String = "shop", ports: [Int] = [80], exists: Bool = true,
        isHeadless: Bool = false, prefix: String = "p"
    ) {
        var object = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: name)
        object.json["spec"] = [
            "clusterIPs": isHeadless
                ? ["None"] : [.string(["cart": "10.96.0.9", "web": "10.96.0.8"][name] ?? "10.96.0.7")],
            "ports": .array(ports.map { ["name": .string("\(prefix)\($0)"), "port": .int(Int64($0))] }),
        ]
        model.set(exists ? MeshService(object) : nil, object.key)
    }

    mutating func slice(_ name: String, _ service: String, _ endpoints: [JSONValue], old: MeshSlice? = nil) -> MeshSlice
    {
        var object = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: name)
        object.json["metadata"]?["labels"] = ["kubernetes.io/service-name": .string(service)]
        object.json["ports"] = [["name": "p80", "port": 8080]]
        object.json["endpoints"] = .array(endpoints)
        let slice = MeshSlice(object)
        model.set(slice, object.key, old: old)
        return slice
    }

    mutating func route(
        _ name: String, kind: RouteKind = .http, in namespace: String = "shop", to service: String = "cart",
        of target: String? = nil, created: String = "2026-01-01T00:00:00Z", hostnames: [String] = [],
        _ rules: JSONValue...
    ) throws {
        var object = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: kind.rawValue, namespace: namespace, name: name)
        object.json["metadata"]?["creationTimestamp"] = .string(created)
        var parent: JSONValue = ["group": "", "kind": "Service", "name": .string(service)]
        if let target { parent["namespace"] = .string(target) }
        object.json["spec"] = ["parentRefs": [parent], "rules": .array(rules)]
        if !hostnames.isEmpty { object.json["spec"]?["hostnames"] = .array(hostnames.map { .string($0) }) }
        var json = object.json
        Defaulting.apply(
            to: &json, of: GroupVersionKind(group: "gateway.networking.k8s.io", version: "v1", kind: kind.rawValue))
        model.set(try MeshRoute(KubeObject(json: json)), RouteKey(kind: kind, key: object.key))
    }

    /// - Returns: The names that were spoken of.
    @discardableResult
    mutating func publish() throws -> Set<String> {
        let changes = model.changes()
        #expect(changes.problems.isEmpty)
        let all = [Audience.everybody, .members, .clients, .sidecars].flatMap { changes[$0] }
        apart = changes[.namespace("other")].reduce(into: [:]) { $0[$1.name] = $1.message }
        for change in all {
            guard let bytes = change.message else {
                said[change.kind]?[change.name] = nil
                continue
            }
            let type = try #require(Message(change.kind.rawValue)?.type)
            let message = try Message(binary: bytes, type: type)
            // The API's own rules hold.
            _ = try ConfigNode(message, from: ConfigText(name: change.name))
            said[change.kind, default: [:]][change.name] = message.json()
        }
        return Set(all.map { "\($0.kind.service) \($0.name)" })
    }

    func routes(_ service: String = "cart") -> [JSONValue] {
        let table = said[.routeConfiguration]?["\(service).shop.svc.cluster.local:80"]
        return table?.list("virtual_hosts").first?.list("routes") ?? []
    }

    /// The targets of a listener's chains by the chain's name, of weighted ones the clusters' weights.
    func targets(_ listener: String) -> [String: String] {
        (said[.listener]?[listener]?.list("filter_chains") ?? []).reduce(into: [:]) { all, chain in
            let proxy = chain.list("filters").last?["typed_config"] ?? .null
            let weighted = proxy.list("weighted_clusters", "clusters").map {
                "\($0.text("name"))=\($0.number("weight"))"
            }
            all[chain.text("name")] = weighted.isEmpty ? proxy.text("cluster") : weighted.joined(separator: " ")
        }
    }

    /// Conditions of a route's first parent, as `Type=Status:Reason`.
    func conditions(_ kind: RouteKind, _ name: String, in namespace: String = "shop") -> [String] {
        let target = StatusTarget.route(RouteKey(kind: kind, key: ObjectKey(namespace: namespace, name: name)))
        let status = model.status(target, ProxyRefusals(), now: Timestamp(seconds: 0))?.patch["status"] ?? .null
        return status.list("parents").first?.list("conditions").map {
            "\($0.text("type"))=\($0.text("status")):\($0.text("reason"))"
        } ?? []
    }
}
