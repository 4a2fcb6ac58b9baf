import Bytes
import ClusterAPI
import ClusterClient
import JSON

/// The objects that proxies are told of: Services of one port with their endpoints, and pods that have a sidecar.
enum MeshCluster {
    static let namespace = "shop"
    static let account = "web"
    static let identity = "spiffe://cluster.local/ns/shop/sa/web"
    /// Of the API server's own making.
    static let builtIn = "kubernetes.default.svc.cluster.local:443"
    /// Requests at once while objects are made.
    private static let atOnce = 32

    static func host(_ number: Int) -> String { "s\(number).\(namespace).svc.cluster.local" }

    static func make(_ options: Options, pods: Int, with client: KubeClient) async throws {
        _ = try await client.create(
            GroupVersionResource(resource: "namespaces"),
            KubeObject(apiVersion: "v1", kind: "Namespace", name: namespace))
        _ = try await client.create(
            .serviceAccounts,
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: namespace, name: account))
        let endpoints = options.endpoints
        try await each(options.services) { number in
            _ = try await client.create(.services, service("s\(number)"))
            _ = try await client.create(.endpointSlices, slice(number, endpoints, last: endpoints))
        }
        note("\(options.services) Services of \(endpoints) endpoints are there")
        try await each(pods) { _ = try await client.create(.pods, pod($0)) }
        note("\(pods) pods are there")
    }

    private static func each(_ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for number in 0..<count {
                if number >= atOnce { try await tasks.next() }
                tasks.addTask { try await body(number) }
            }
            try await tasks.waitForAll()
        }
    }

    /// Its endpoints are told by hand.
    static func service(_ name: String) -> KubeObject {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: name)
        service.json["spec"] = ["ports": [["name": "http", "port": 80, "targetPort": 8080]]]
        return service
    }

    /// - Parameter last: What the last endpoint's address ends with; it is what changes.
    static func slice(_ number: Int, _ endpoints: Int, last: Int) -> KubeObject {
        let hosts = (1..<endpoints).map { $0 } + [last]
        return slice(of: "s\(number)", port: 8080, hosts.map { "10.\(64 + number >> 8).\(number & 255).\($0)" })
    }

    static func slice(of service: String, port: Int, _ addresses: [String]) -> KubeObject {
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: namespace, name: service)
        slice.json["metadata"]?["labels"] = ["kubernetes.io/service-name": .string(service)]
        slice.json["addressType"] = "IPv4"
        slice.json["ports"] = [["name": "http", "port": .int(Int64(port)), "protocol": "TCP"]]
        slice.json["endpoints"] = .array(
            addresses.map { ["addresses": [.string($0)], "conditions": ["ready": true]] })
        return slice
    }

    private static func pod(_ number: Int) -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: "web-\(number)")
        pod.json["metadata"]?["labels"] = ["app": "web"]
        pod.json["metadata"]?["annotations"] = ["mesh.weft.dev/status": "{}"]
        pod.json["spec"] = ["serviceAccountName": .string(account), "containers": [["name": "app", "image": "app"]]]
        return pod
    }
}
