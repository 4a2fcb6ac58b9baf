import ClusterAPI
import JSON
import Testing

@testable import MeshControl
@testable import XDS

@Suite("Those whom policies ask (CUSTOM)")
struct ExtensionProviderTests {
    private static let mesh = """
        extensionProviders:
        - name: by-grpc
          envoyExtAuthzGrpc: {service: shop/authorizer.shop.svc.cluster.local, port: 9000, statusOnError: "503"}
        - name: outside
          envoyExtAuthzHttp:
            service: authorizer.example.com
            port: 8000
            timeout: 2s
            includeRequestHeadersInCheck: [cookie, x-*]
            includeAdditionalHeadersInCheck: {x-from: mesh}
            includeRequestBodyInCheck: {maxRequestBytes: 4096, allowPartialMessage: true}
        - name: tracer
          zipkin: {service: zipkin.shop.svc.cluster.local, port: 9411}
        """

    private func settings(_ text: String) -> KubeObject {
        var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "istio")
        map.json["data"] = ["mesh": .string(text)]
        return map
    }

    /// A pod with a port of HTTP and one of a stream, under a policy.
    private func world(_ provider: String, _ rule: JSONValue, mesh: String = mesh) -> MeshPodsWorld {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080])
        pods.service("store", ["app": "cart"], ["name": "tcp", "port": 90, "targetPort": 9000])
        pods.service("authorizer", ["app": "none"], ["name": "any", "port": 9000, "targetPort": 9000])
        let map = settings(mesh)
        pods.model.set(MeshSettings(map), map.key)
        pods.authorization("asks", ["action": "CUSTOM", "provider": ["name": .string(provider)], "rules": [rule]])
        return pods
    }

    private func chain(_ pods: MeshPodsWorld, _ name: String) throws -> [JSONValue] {
        let chains = try #require(pods.resources("a")["lds virtualInbound"]).list("filter_chains")
        return try #require(chains.first { $0.text("name") == name }).list("filters")
    }

    private func filters(_ pods: MeshPodsWorld) throws -> [JSONValue] {
        try chain(pods, "inbound|8080|plain").last?["typed_config"]?.list("http_filters") ?? []
    }

    @Test(
        "one that speaks gRPC: its Service's endpoints by HTTP/2, asked where the rules before it say so, before tokens"
    )
    func grpc() throws {
        var pods = world("by-grpc", ["to": [["operation": ["paths": ["/private*"]]]]])
        pods.requests("tokens", ["jwtRules": [["issuer": "i", "jwks": #"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#]]])
        let filters = try filters(pods)
        #expect(
            filters.prefix(3).map { $0.text("name") } == [
                "envoy.filters.http.rbac.custom.by-grpc", "envoy.filters.http.ext_authz.by-grpc",
                TokenTranslation.filter,
            ])
        let asking = filters[1]["typed_config"] ?? .null
        let cluster = asking.text("grpc_service", "envoy_grpc", "cluster_name")
        #expect(asking.text("grpc_service", "timeout") == "600s")
        #expect(
            asking[path: "filter_enabled_metadata", "path"]?.array?.first?.text("key")
                == "istio_ext_authz_by-grpc_shadow_effective_policy_id")
        let resource = try #require(pods.resources("a")["cds \(cluster)"])
        #expect(
            resource.text("eds_cluster_config", "service_name") == "outbound|9000||authorizer.shop.svc.cluster.local")
        #expect(resource["typed_extension_protocol_options"] != nil)
        let table = try #require(pods.resources("a")["rds inbound|8080||"])
        let rules = table.list("virtual_hosts").first?.list("routes").first?[
            path: "typed_per_filter_config", "envoy.filters.http.rbac.custom.by-grpc", "rbac"]
        #expect(
            rules?["shadow_rules"]?["policies"]?.object?.members.first?.key
                == "istio-ext-authz-ns[shop]-policy[asks]-rule[0]")
        #expect(rules?["rules"] == nil)
    }

    @Test("one outside is found by his name, and gets what he is to see")
    func outside() throws {
        let pods = world("outside", [:])
        let asking = try #require(filters(pods).dropFirst().first)["typed_config"] ?? .null
        #expect(asking.text("http_service", "server_uri", "uri") == "http://authorizer.example.com:8000")
        #expect(asking.text("http_service", "server_uri", "timeout") == "2s")
        #expect(asking.list("allowed_headers", "patterns").count == 2)
        let resource = pods.resources
        let cluster = try #require(resource("a")["cds ext_authz|8000|http|authorizer.example.com"])
        #expect(cluster.text("type") == "STRICT_DNS")
    }

    @Test(
        "who is no authorizer, or is not there, is not asked: what he is for is refused",
        arguments: ["tracer", "nobody"])
    func unknown(name: String) throws {
        let pods = world(name, [:])
        #expect(try filters(pods).first?.text("name") == "envoy.filters.http.rbac.custom.\(name)")
        #expect(try filters(pods).allSatisfy { !$0.text("name").contains("ext_authz") })
        let table = try #require(pods.resources("a")["rds inbound|8080||"])
        let rbac = table.list("virtual_hosts").first?.list("routes").first?[
            path: "typed_per_filter_config", "envoy.filters.http.rbac.custom.\(name)", "rbac", "rules"]
        #expect(rbac?.text("action") == "DENY" && rbac?["policies"]?.object?.members.count == 1)
    }

    @Test(
        "nobody is asked about streams: those that a rule is for are refused, others are none of its business",
        arguments: [
            (["to": [["operation": ["ports": ["9000"]]]]], 1), ([:], 1),
            (["to": [["operation": ["paths": ["/x"]]]]], 0),
        ] as [(JSONValue, Int)])
    func streams(rule: JSONValue, refuses: Int) throws {
        let pods = world("by-grpc", rule)
        let rbac = try #require(chain(pods, "inbound|9000|plain").first)["typed_config"] ?? .null
        #expect((rbac[path: "rules", "policies"]?.object?.members.count ?? 0) == refuses, "\(rbac)")
    }

    @Test("settings that come, change and go are told to the pods whose policies ask")
    func changes() throws {
        var pods = world("by-grpc", [:])
        _ = pods.model.changes()
        let map = settings("extensionProviders: []")
        pods.model.set(MeshSettings(map), map.key)
        #expect(pods.model.changes().pods == [ObjectKey(namespace: "shop", name: "a")])
        pods.model.set(MeshSettings(map), map.key)
        #expect(pods.model.changes().pods == [])
        #expect(MeshSettings(settings("extensionProviders: [")).problem?.contains("kube-system/istio") == true)
    }
}
