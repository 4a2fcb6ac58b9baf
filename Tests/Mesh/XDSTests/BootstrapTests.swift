import JSON
import Testing
import XDS

@Suite("Bootstrap") struct BootstrapTests {
    static let text = """
        node: {id: a, cluster: b}
        admin:
          address:
            socketAddress: {address: 127.0.0.1, portValue: 9901}
        static_resources:
          listeners:
          - name: in
            address:
              socket_address:
                address: 0.0.0.0
                port_value: 10000
            filter_chains:
            - filters:
              - name: http
                typed_config:
                  "@type": type.googleapis.com/udpa.type.v1.TypedStruct
                  type_url: type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  value:
                    stat_prefix: in
                    xff_num_trusted_hops: 2
                    route_config:
                      name: r
          - address:
              socket_address: {address: 0.0.0.0, port_value: 10001}
          clusters:
          - name: up
            connect_timeout: 1s
        """

    private static func read(_ text: String, _ overlay: String? = nil) throws -> ConfigNode {
        try Bootstrap.read(
            [ConfigText(name: "bootstrap.yaml", text: text)]
                + (overlay.map { [ConfigText(name: "--config-yaml", text: $0)] } ?? []))
    }

    @Test("YAML and JSON are told apart by their content") func formats() throws {
        #expect(try Self.read(" {\"node\": {\"id\": \"x\"}}").message("node")?.string("id") == "x")
        #expect(try Self.read("{node: {id: x}}").message("node")?.string("id") == "x")
        #expect(try Self.read("node:\n  id: x\n").message("node")?.string("id") == "x")
        #expect(try Self.read("").has("node") == false)
    }

    @Test("what is laid over it wins in scalars and is added to lists") func overlay() throws {
        let bootstrap = try Self.read(
            Self.text,
            "{node: {id: z, metadata: {k: 1}}, static_resources: {clusters: [{name: more}]}}")
        let node = try #require(bootstrap.message("node"))
        #expect(node.string("id") == "z")
        #expect(node.string("cluster") == "b")
        #expect(node.structure("metadata") == ["k": 1])
        let resources = try bootstrap.staticResources()
        #expect(resources[.cluster]?.map(\.name) == ["up", "more"])
        #expect(resources[.listener]?.map(\.name) == ["in", "listener-1"])
    }

    @Test(
        "an error names the file, the line, the path and the reason",
        arguments: [
            (
                "port_value: 10000", "port_value: 70000",
                "bootstrap.yaml:11: static_resources.listeners[0].address.socket_address.port_value: must be at most 65535, is 70000"
            ),
            (
                "portValue: 9901", "portValue: 99x",
                "bootstrap.yaml:4: admin.address.socket_address.port_value: expected a whole number from 0 to 4294967295, found \"99x\""
            ),
            (
                "connect_timeout: 1s", "connect_timeuot: 1s",
                "bootstrap.yaml:27: static_resources.clusters[0]: unknown field \"connect_timeuot\""
            ),
            (
                "connect_timeout: 1s", "connect_timeout: 1",
                "bootstrap.yaml:27: static_resources.clusters[0].connect_timeout: expected a duration such as \"1.5s\", found 1"
            ),
            ("connect_timeout: 1s", "name: up", "bootstrap.yaml:27: key \"name\" is there twice, first in line 26"),
            (
                "type.v1.TypedStruct", "type.v1.TypedStrict",
                "bootstrap.yaml:15: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: unknown type \"type.googleapis.com/udpa.type.v1.TypedStrict\""
            ),
        ])
    func errors(old: String, new: String, expected: String) throws {
        let error = #expect(throws: ConfigError.self) { try Self.read(Self.text.replacing(old, with: new)) }
        #expect(error?.description == expected)
    }

    @Test(
        "also within a TypedStruct an error has its line",
        arguments: [
            (
                "xff_num_trusted_hops: 2",
                "bootstrap.yaml:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: unsupported field \"xff_num_trusted_hops\""
            ),
            (
                "xff_num_trusted_hops: -2",
                "bootstrap.yaml:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.xff_num_trusted_hops: expected a whole number from 0 to 4294967295, found -2"
            ),
        ])
    func typedStruct(new: String, expected: String) throws {
        let text = Self.text.replacing("xff_num_trusted_hops: 2", with: new)
        let resources = try Self.read(text).staticResources()
        let error = #expect(throws: ConfigError.self) {
            let listener = try #require(resources[.listener]?.first).node()
            _ = (listener.string("name"), listener.subtree("address"))
            for chain in listener.messages("filter_chains") {
                for filter in chain.messages("filters") {
                    _ = filter.string("name")
                    let manager = try #require(try filter.typed("typed_config"))
                    _ = (manager.string("stat_prefix"), manager.subtree("route_config"))
                }
            }
            try listener.finish()
        }
        #expect(error?.description == expected)
    }

    @Test("unknown fields pass when they may") func lenient() throws {
        let text = Self.text.replacing("connect_timeout", with: "connect_timeuot")
        let bootstrap = try Bootstrap.read([ConfigText(name: "b", text: text)], ignoringUnknown: true)
        #expect(bootstrap.has("admin"))
    }

    @Test("a resource that is there twice is refused") func twice() throws {
        let text = Self.text.replacing("clusters:\n", with: "clusters:\n  - name: up\n")
        let bootstrap = try Self.read(text)
        let error = #expect(throws: ConfigError.self) { try bootstrap.staticResources() }
        #expect(error?.description == "bootstrap.yaml:27: static_resources.clusters[1]: \"up\" is there twice")
    }
}
