import ClusterAPI
import JSON
import Testing

@testable import weft

@Suite("The ends of a question about policies")
struct PolicyEndsTests {
    private static func object(_ kind: String, _ name: String, _ fields: JSONValue, owner: String? = nil) -> KubeObject
    {
        var object = KubeObject(apiVersion: "v1", kind: kind, namespace: "shop", name: name)
        for (key, value) in fields.object ?? [:] { object.json[key] = value }
        if let owner {
            object.json["metadata"]?["ownerReferences"] = [
                [
                    "kind": .string(kind == "Pod" ? "ReplicaSet" : "Deployment"), "name": .string(owner),
                    "controller": true,
                ]
            ]
        }
        return object
    }

    private static let ends = PolicyEnds(
        pods: [
            object("Pod", "web-1", ["status": ["podIP": "10.0.0.1"]], owner: "web-x"),
            object("Pod", "web-2", ["status": ["podIP": "10.0.0.2"]], owner: "web-x"),
            object("Pod", "web-3", ["status": [:]], owner: "web-x"),
            object("Pod", "cart", ["status": ["podIP": "10.0.0.3"]]),
        ],
        replicaSets: [object("ReplicaSet", "web-x", [:], owner: "web")],
        services: [object("Service", "web", ["spec": ["selector": ["app": "web"]]])], namespace: "shop")

    @Test(
        "who asks is each pod of that name, workloads' too",
        arguments: [
            ("cart", ["shop/cart"]), ("shop/web", ["shop/web-1", "shop/web-2"]),
            ("deployment/web", ["shop/web-1", "shop/web-2"]), ("node:n1", ["node:n1"]), ("fd00::1", ["fd00::1"]),
        ])
    func clients(text: String, expected: [String]) throws { #expect(try Self.ends.clients(text) == expected) }

    @Test(
        "who is asked may be a Service, whose ports are its own",
        arguments: [
            ("web:80", ["shop/web:80"]), ("shop/svc/web:http", ["shop/web:http"]),
            ("deploy/web:8080/udp", ["shop/web-1:8080/udp", "shop/web-2:8080/udp"]), ("cart:80", ["shop/cart:80"]),
            ("10.0.0.9:80", ["10.0.0.9:80"]), ("[fd00::1]:80", ["[fd00::1]:80"]), ("node:n1:22", ["node:n1:22"]),
        ])
    func destinations(text: String, expected: [String]) throws {
        #expect(try Self.ends.destinations(text) == expected)
    }

    @Test("a name that nothing has is refused with those that are there")
    func unknown() {
        let refusal = #expect(throws: Refusal.self) { try Self.ends.clients("shop/wob") }
        #expect(refusal?.hint.contains("web-1") == true)
        #expect(throws: Refusal.self) { try Self.ends.destinations("shop/wob:80") }
    }
}
