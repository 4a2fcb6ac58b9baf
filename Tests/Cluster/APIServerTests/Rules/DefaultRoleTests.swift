import ClusterAPI
import HTTP
import JSON
import Testing

@testable import APIServer

@Suite("Roles that every cluster has")
struct DefaultRoleTests {
    static let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    private static let core = "/api/v1/namespaces/default"

    static func binding(of role: String, to account: String) -> JSONValue {
        [
            "metadata": ["name": .string("\(role)-\(account)")],
            "roleRef": [
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": .string(role),
            ],
            "subjects": [["kind": "ServiceAccount", "name": .string(account), "namespace": "default"]],
        ]
    }

    /// The status of an account's request.
    private static func status(
        _ admin: TestClient, as account: String, _ method: String, _ path: String, _ body: JSONValue? = nil
    ) async throws -> Int {
        try await admin.send(
            method, path, bytes: body?.encoded() ?? [], type: body == nil ? nil : "application/json",
            headers: ["Impersonate-User": "system:serviceaccount:default:\(account)"]
        ).status
    }

    @Test("a service account may nothing without a role; view reads, but no secrets; edit writes, but no roles")
    func accounts() async throws {
        try await TestServer.with { server in
            let admin = try server.client()
            let (pods, secrets) = (Self.core + "/pods", Self.core + "/secrets")
            let settings: JSONValue = ["metadata": ["name": "settings"]]
            for path in [pods, secrets, "/api/v1/nodes"] {
                #expect(try await Self.status(admin, as: "reader", "GET", path) == 403)
            }
            #expect(try await Self.status(admin, as: "reader", "GET", "/apis") == 200)
            for (role, account) in [("view", "reader"), ("edit", "writer")] {
                let made = try await admin.send("POST", Self.bindings, Self.binding(of: role, to: account))
                #expect(made.status == 201, "\(made.message)")
            }
            let routes = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
            for path in [pods, routes, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"] {
                for account in ["reader", "writer"] {
                    #expect(try await Self.status(admin, as: account, "GET", path) == 200, "\(account) \(path)")
                }
            }
            #expect(try await Self.status(admin, as: "reader", "GET", secrets) == 403)
            #expect(try await Self.status(admin, as: "writer", "GET", secrets) == 200)
            #expect(try await Self.status(admin, as: "reader", "POST", Self.core + "/configmaps", settings) == 403)
            #expect(try await Self.status(admin, as: "writer", "POST", Self.core + "/configmaps", settings) == 201)
            for path in [Self.bindings, "/api/v1/namespaces/kube-system/pods", "/api/v1/pods"] {
                #expect(try await Self.status(admin, as: "writer", "GET", path) == 403, "\(path)")
            }
        }
    }

    @Test("a role that is labelled for view is a part of it")
    func aggregated() async throws {
        try await TestServer.with { server in
            let admin = try server.client()
            _ = try await admin.send("POST", Self.bindings, Self.binding(of: "view", to: "reader"))
            #expect(try await Self.status(admin, as: "reader", "GET", Self.core + "/secrets") == 403)
            let made = try await admin.send(
                "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                [
                    "metadata": [
                        "name": "more", "labels": ["rbac.authorization.k8s.io/aggregate-to-view": "true"],
                    ],
                    "rules": [["apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]]],
                ])
            #expect(made.status == 201, "\(made.message)")
            #expect(try await Self.status(admin, as: "reader", "GET", Self.core + "/secrets") == 200)
        }
    }
}
