// What tests of several rooms need of a cluster: an API server in the test's own process, and its usual objects.
import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Store
import TLS
import TestSupport

/// An API server of a test's own, on a loop and a store of its own; gone when the test's body returns.
package struct TestAPI: Sendable {
    package let client: KubeClient
    package let group: EventLoopGroup
    package let folder: ScratchFolder
    package var loop: EventLoop { group.all[0] }

    /// - Parameter body: Runs on the loop.
    package static func run(
        serviceCIDRs: [String] = ["10.96.0.0/16"], _ body: @escaping @Sendable (TestAPI) async throws -> Void
    ) async throws {
        let folder = try ScratchFolder()
        let group = try EventLoopGroup(count: 1, name: "test-api")
        let store = try SQLiteStore(path: folder.path + "/state.db")
        defer { store.close() }
        let server = APIServer(
            store: store,
            config: APIServerConfig(
                serviceCIDRs: serviceCIDRs.compactMap { CIDR($0) }, advertiseAddress: IPAddress(v4: 172, 30, 0, 1),
                serviceAccountIssuer: "https://kubernetes.default.svc", serviceAccountKey: try PrivateKey.generate()))
        let outcome: Result<Void, any Error>
        do {
            try await group.all[0].perform {
                try await server.prepare()
                try await body(TestAPI(client: KubeClient(server.transport()), group: group, folder: folder))
            }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        server.beginStopping()
        await group.shutdown()
        try outcome.get()
    }

    /// Does something while something else runs beside it, which ends with it.
    package static func beside(
        _ other: @escaping @Sendable () async -> Void, _ body: () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await other() }
            defer { tasks.cancelAll() }
            try await body()
        }
    }
}

extension KubeClient {
    /// A namespace, with service accounts.
    package func makeNamespace(_ name: String, accounts: [String] = []) async throws {
        _ = try await create(
            GroupVersionResource(resource: "namespaces"), KubeObject(apiVersion: "v1", kind: "Namespace", name: name))
        for account in accounts { try await makeAccount(account, in: name) }
    }

    package func makeAccount(_ name: String, in namespace: String) async throws {
        _ = try await create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: namespace, name: name))
    }

    /// Creates an object, or replaces the one of its name.
    package func put(_ resource: GroupVersionResource, _ object: KubeObject) async throws {
        var object = object
        while true {
            guard let old = try? await get(resource, object.key) else {
                _ = try await create(resource, object)
                return
            }
            object.resourceVersion = old.resourceVersion
            do {
                _ = try await update(resource, object)
                return
            } catch let error as StatusError where error.reason == .conflict {
                // A controller has written its status meanwhile.
                continue
            }
        }
    }
}

extension KubeObject {
    /// A Service's only EndpointSlice, with ready endpoints.
    package static func slice(
        of service: String, in namespace: String = "shop", family: String = "IPv4", ports: [String: Int64],
        _ endpoints: [JSONValue]
    ) -> KubeObject {
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: namespace, name: service)
        slice.json["metadata"]?["labels"] = ["kubernetes.io/service-name": .string(service)]
        slice.json["addressType"] = .string(family)
        slice.json["ports"] = .array(
            ports.sorted { $0.key < $1.key }.map {
                ["name": .string($0.key), "port": .int($0.value), "protocol": "TCP"]
            })
        slice.json["endpoints"] = .array(endpoints)
        return slice
    }

    /// An endpoint of a slice that is ready.
    package static func endpoint(_ address: String) -> JSONValue {
        ["addresses": [.string(address)], "conditions": ["ready": true]]
    }
}

extension GroupVersionResource {
    package static let httpRoutes = Self(group: "gateway.networking.k8s.io", resource: "httproutes")

    /// A kind of `security.istio.io`.
    package static func policies(_ kind: String) -> GroupVersionResource {
        GroupVersionResource(
            group: "security.istio.io",
            resource: kind == "AuthorizationPolicy" ? "authorizationpolicies" : kind.lowercased() + "s")
    }
}
