import JSON
import Testing
import XDS

@Suite("ConfigNode") struct ConfigNodeTests {
    static func node(_ type: String, _ json: JSONValue) throws -> ConfigNode {
        let message = try Message(json: json, type: #require(ProtoSchema.envoy.message(type)))
        return try ConfigNode(message, from: ConfigText(name: "test.yaml"))
    }

    static func cluster(_ json: JSONValue) throws -> ConfigNode {
        var json = json
        if json["name"] == nil { json["name"] = "a" }
        return try node("envoy.config.cluster.v3.Cluster", json)
    }

    enum Policy: String, ConfigEnum {
        case roundRobin = "ROUND_ROBIN"
        case random = "RANDOM"
    }

    @Test("what was read is accepted, and what nobody read is refused by name")
    func finish() throws {
        let cluster = try Self.cluster([
            "connect_timeout": "1.5s",
            "circuitBreakers": ["thresholds": [["max_connections": 3, "track_remaining": true]]],
        ])
        #expect(cluster.string("name") == "a")
        #expect(cluster.duration("connect_timeout") == .milliseconds(1500))
        let limits = try #require(cluster.message("circuit_breakers"))
        let threshold = try #require(limits.messages("thresholds").first)
        #expect(threshold.uint32("max_connections", default: 1024) == 3)
        let error = #expect(throws: ConfigError.self) { try cluster.finish() }
        #expect(
            error?.description
                == "test.yaml: circuit_breakers.thresholds[0]: unsupported field \"track_remaining\"")
        #expect(threshold.bool("track_remaining"))
        try cluster.finish()
    }

    @Test("a field without presence that is zero counts as absent") func zeros() throws {
        let cluster = try Self.cluster(["close_connections_on_host_health_failure": false, "alt_stat_name": ""])
        _ = cluster.string("name")
        try cluster.finish()
    }

    @Test("a wrapper tells zero from absent") func wrappers() throws {
        let absent = try Self.cluster([:])
        #expect(absent.uint32IfSet("per_connection_buffer_limit_bytes") == nil)
        #expect(absent.uint32("per_connection_buffer_limit_bytes", default: 9) == 9)
        let zero = try Self.cluster(["per_connection_buffer_limit_bytes": 0])
        #expect(zero.uint32IfSet("per_connection_buffer_limit_bytes") == 0)
        #expect(zero.uint32("per_connection_buffer_limit_bytes", default: 9) == 0)
    }

    @Test("an enum's value that the program does not have is refused by name") func enums() throws {
        #expect(try Self.cluster([:]).enumeration("lb_policy", as: Policy.self) == .roundRobin)
        #expect(try Self.cluster(["lb_policy": "RANDOM"]).enumeration("lb_policy", as: Policy.self) == .random)
        let maglev = try Self.cluster(["lb_policy": "MAGLEV"])
        let error = #expect(throws: ConfigError.self) { try maglev.enumeration("lb_policy", as: Policy.self) }
        #expect(error?.description == "test.yaml: lb_policy: unsupported value MAGLEV")
    }

    @Test("of a oneof the member that is set is named") func choice() throws {
        let match = try Self.node("envoy.config.route.v3.RouteMatch", ["prefix": "/"])
        #expect(match.choice("path_specifier") == "prefix")
        let both = #expect(throws: ConfigError.self) {
            try Self.node("envoy.config.route.v3.RouteMatch", ["path": "/", "prefix": "/"])
        }
        #expect(both?.description == "prefix: excludes \"path\": only one of them may be set")
    }

    @Test(
        "a packed message is read by its type, also when it is a TypedStruct",
        arguments: [nil, "udpa.type.v1", "xds.type.v3"])
    func typed(wrapper: String?) throws {
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        var config: JSONValue = ["@type": .string(router), "suppress_envoy_headers": true]
        if let wrapper {
            config = [
                "@type": .string("type.googleapis.com/\(wrapper).TypedStruct"), "type_url": .string(router),
                "value": ["suppress_envoy_headers": true],
            ]
        }
        let filter = try Self.node(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
            ["name": "envoy.filters.http.router", "typed_config": config])
        let node = try #require(try filter.typed("typed_config"))
        #expect(node.typeName == "envoy.extensions.filters.http.router.v3.Router")
        #expect(node.bool("suppress_envoy_headers"))
        _ = filter.string("name")
        try filter.finish()
    }

    @Test("an unknown field is refused with its place") func unknown() throws {
        let error = #expect(throws: ConfigError.self) {
            try Self.cluster(["load_assignment": ["cluster_name": "a", "endpoints": [["lb_endpoints": [["foo": 1]]]]]])
        }
        #expect(
            error?.description == "load_assignment.endpoints[0].lb_endpoints[0]: unknown field \"foo\"")
    }

    @Test(
        "the API's own rules are checked",
        arguments: [
            (#"{"name": ""}"#, "name: must have at least 1 character, has 0"),
            (#"{"name": "a", "connect_timeout": "0s"}"#, "connect_timeout: must be greater than 0s, is 0s"),
            (#"{"name": "a", "lb_policy": 17}"#, "lb_policy: 17 is none of"),
            (
                #"{"name": "a", "load_assignment": {"endpoints": []}}"#,
                "load_assignment.cluster_name: must have at least 1 character, has 0"
            ),
        ])
    func rules(text: String, expected: String) throws {
        let json = try JSONValue.parse(text)
        let error = #expect(throws: ConfigError.self) { try Self.node("envoy.config.cluster.v3.Cluster", json) }
        #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
    }
}
