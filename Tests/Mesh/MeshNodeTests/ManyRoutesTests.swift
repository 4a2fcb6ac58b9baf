import ClusterAPI
import ClusterClient
import ClusterFixture
import Glibc
import HTTP
import JSON
import Reactor
import Telemetry
import TestSupport
import Testing

@testable import MeshNode

/// One namespace with very many routes: the real control plane, reached as users reach it, and one real proxy.
@Suite("Very many routes", .enabled(if: BuiltPrograms.path("weft-proxy") != nil, "programs are not built"))
struct ManyRoutesTests {
    /// More by `WEFT_ROUTES`: 10 000 take a minute in a debug build.
    private static let count = Environment["WEFT_ROUTES"].flatMap { Int($0) } ?? 1000
    /// Requests at once while routes are made.
    private static let atOnce = 32
    private static let proxied = "sidecar~cart-1.shop"

    /// Each leads elsewhere, so that it can be told which one answered.
    private static func route(_ number: Int, to host: String) -> KubeObject {
        var route = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: "shop", name: "r\(number)")
        route.spec = [
            "parentRefs": [["group": "", "kind": "Service", "name": "cart", "port": 80]],
            "rules": [
                [
                    "matches": [["path": ["type": "Exact", "value": .string("/r\(number)")]]],
                    "filters": [
                        [
                            "type": "RequestRedirect",
                            "requestRedirect": ["hostname": .string(host), "statusCode": 302],
                        ]
                    ],
                ]
            ],
        ]
        return route
    }

    private static func bootstrap(_ volume: String, port: UInt16) -> String {
        """
        node: {id: \(proxied), cluster: cart.shop}
        \(ProxyBootstrap.discovery)
        static_resources:
          listeners:
          - name: outbound
            address: {socket_address: {address: 127.0.0.1, port_value: \(port)}}
            filter_chains:
            - filters:
              - name: hcm
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: outbound
                  rds: {route_config_name: "cart.shop.svc.cluster.local:80", config_source: {ads: {}, resource_api_version: V3}}
                  http_filters:
                  - name: router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          clusters:
        \(ProxyBootstrap.pipe("xds-grpc", "\(volume)/\(MeshWorkloads.configurationSocket)"))
        \(ProxyBootstrap.pipe("sds-grpc", "\(volume)/\(MeshWorkloads.secretSocket)"))
        """
    }

    @Test("each of them is obeyed, and so is a change of one of them")
    func obeyed() async throws {
        let group = try EventLoopGroup(count: 1, name: "many-routes")
        let outcome: Result<Void, any Error>
        do {
            try await group.all[0].perform { try await Self.play(group.all[0]) }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        await group.shutdown()
        try outcome.get()
    }

    private static func play(_ loop: EventLoop) async throws {
        let control = try await ControlProcess(on: loop)
        defer { control.kill() }
        let client = try await control.client()
        let pod = try await ControlProcessTests.prepare(client)
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "cart")
        service.spec = ["ports": [["name": "http", "port": 80, "targetPort": 8080]]]
        _ = try await client.create(.services, service)
        let nodeGroup = try EventLoopGroup(count: 1, name: "node")
        let node = try MeshWorkloads(
            MeshNodeConfiguration(
                try await control.nodeConfig("n1"), address: "127.0.0.1:\(control.meshPort)",
                recordDirectory: control.folder.path + "/records"), on: nodeGroup, metrics: MetricsRegistry(),
            log: Log.shared)
        let volume = control.folder.path + "/volume"
        try await node.start(pod, folder: volume)
        let following = Task { await node.run() }
        let port = try OwnAddress.freePort()
        let file = control.folder.path + "/bootstrap.yaml"
        try Files.writeAtomically(file, bootstrap(volume, port: port))
        let proxy = try await ChildProcess.start(
            .init([try #require(BuiltPrograms.path("weft-proxy")), "-c", file, "--concurrency", "1"]), on: loop)
        defer { proxy.kill(9) }

        let calls = HTTPClient(on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port))
        func answer(_ number: Int) async throws -> String {
            let answer = try await calls.request("GET", "/r\(number)", timeout: .seconds(20))
            return answer.headers["location"] ?? "\(answer.status)"
        }
        let start = ContinuousClock.now
        let before = try control.usage()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for number in 0..<count {
                if number >= atOnce { try await tasks.next() }
                tasks.addTask { _ = try await client.create(.httpRoutes, route(number, to: "h\(number)")) }
            }
            try await tasks.waitForAll()
        }
        let made = ContinuousClock.now - start
        try await eventually("the last one is obeyed", on: loop) {
            try await answer(count - 1) == "http://h\(count - 1)/r\(count - 1)"
        }
        let loaded = ContinuousClock.now - start
        for number in 0..<count {
            var seen = ""
            // They come in any order.
            try await eventually("route \(number) is obeyed", on: loop) {
                seen = try await answer(number)
                return seen == "http://h\(number)/r\(number)"
            } otherwise: {
                seen
            }
        }
        try await eventually("their statuses are written", on: loop) {
            let last = try await client.get(.httpRoutes, ObjectKey(namespace: "shop", name: "r\(count - 1)"))
            return last.status.list("parents").first?.list("conditions").contains { $0.text("status") == "True" }
                ?? false
        }
        let settled = ContinuousClock.now - start
        let after = try control.usage()
        var changes: [Duration] = []
        for round in 0..<5 {
            let number = count / 2 + round
            try await client.put(.httpRoutes, route(number, to: "other"))
            let told = ContinuousClock.now
            while try await answer(number) != "http://other/r\(number)" {
                try #require(ContinuousClock.now - told < .seconds(60), "a change is not obeyed")
            }
            changes.append(ContinuousClock.now - told)
        }
        let end = try control.usage()
        print(
            """
            \(count) routes: made in \(made), all obeyed in \(loaded), each asked and statuses written in \(settled); control took \
            \(after.seconds - before.seconds) s of the processor and has \(after.megabytes) MB (\(before.megabytes) before); a change is \
            obeyed after \(changes), \(end.seconds - after.seconds) s of the processor for five
            """)
        await node.stop(pod.uid)
        following.cancel()
        await following.value
        await nodeGroup.shutdown()
    }
}
