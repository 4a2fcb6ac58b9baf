import Bytes
import JSON
import Testing
import XDS

@Suite("codecs") struct CodecTests {
    private static func type(_ name: String) throws -> MessageType { try #require(ProtoSchema.envoy.message(name)) }

    private static func decode(_ name: String, _ hex: String) throws -> Message {
        try Message(binary: try #require(Hex.decode(hex)), type: type(name))
    }

    // MARK: Binary

    @Test("what comes twice is merged: messages by field, lists one behind the other, the last scalar wins")
    func merging() throws {
        let first = try Message(
            json: [
                "name": "a", "circuit_breakers": ["thresholds": [["max_connections": 1]]],
                "dns_lookup_family": "V4_ONLY", "metadata": ["filter_metadata": ["x": ["k": 1, "l": 2]]],
            ], type: Self.type("envoy.config.cluster.v3.Cluster"))
        let second = try Message(
            json: [
                "name": "b", "circuit_breakers": ["thresholds": [["max_requests": 2]]],
                "metadata": ["filter_metadata": ["w": [:], "x": ["k": 3]]],
            ], type: Self.type("envoy.config.cluster.v3.Cluster"))
        let both = try Message(binary: first.binary() + second.binary(), type: first.type)
        let expected: JSONValue = [
            "name": "b", "circuit_breakers": ["thresholds": [["max_connections": 1], ["max_requests": 2]]],
            "dns_lookup_family": "V4_ONLY", "metadata": ["filter_metadata": ["w": [:], "x": ["k": 3]]],
        ]
        #expect(both.json() == expected)
        var merged = first
        merged.merge(second)
        #expect(merged.json() == expected)
    }

    @Test("of a oneof the last member on the wire stays") func oneof() throws {
        // prefix "a", then path "b"
        #expect(try Self.decode("envoy.config.route.v3.RouteMatch", "0a0161120162").json() == ["path": "b"])
        // the same, the other way round
        #expect(try Self.decode("envoy.config.route.v3.RouteMatch", "1201620a0161").json() == ["prefix": "a"])
    }

    @Test("numbers in lists may be packed or not, or both") func packed() throws {
        let match = "envoy.config.listener.v3.FilterChainMatch"
        #expect(try Self.decode(match, "3a03500102").json() == ["source_ports": [80, 1, 2]])
        #expect(try Self.decode(match, "385038013a0102").json() == ["source_ports": [80, 1, 2]])
    }

    @Test(
        "fields that are not in the schema, or of another wire type, are passed over and counted",
        arguments: [
            ("0a0161c03e01", 1), ("0a0161c33e0801c43ed23f00", 2), ("0a01610801", 1), ("0a016120000000", 0),
        ])
    func unknown(hex: String, count: Int) throws {
        let bytes = try #require(Hex.decode(hex))
        var unknown = 0
        guard count > 0 else {
            #expect(throws: ConfigError.self) {
                try Message(binary: bytes, type: Self.type("envoy.config.core.v3.Locality"), countingUnknown: &unknown)
            }
            return
        }
        let message = try Message(
            binary: bytes, type: Self.type("envoy.config.core.v3.Locality"), countingUnknown: &unknown)
        #expect(message.json() == ["region": "a"])
        #expect(unknown == count)
    }

    @Test("zeros that are on the wire count as absent, but for fields that know of their presence") func zeros() throws
    {
        #expect(try Self.decode("envoy.config.core.v3.Locality", "0a00").isEmpty)
        #expect(try Self.decode("envoy.config.core.v3.SocketAddress", "1800").json() == ["port_value": 0])
        #expect(try Self.decode("envoy.config.core.v3.CidrRange", "1200").json() == ["prefix_len": 0])
    }

    @Test("a map entry may lack its key or its value, and the last of equal keys stays") func maps() throws {
        let json = try Self.decode(
            "envoy.service.discovery.v3.DeltaDiscoveryRequest", "2a002a060a016112017a2a060a0161120162"
        ).json()
        #expect(json == ["initial_resource_versions": ["": "", "a": "b"]])
    }

    @Test(
        "text that is no UTF-8 and times out of range are refused with their place",
        arguments: [
            ("envoy.config.core.v3.Locality", "0a01ff", "region: text that is no UTF-8"),
            ("envoy.config.cluster.v3.Cluster", "22070880808080808080", "connect_timeout: malformed protobuf"),
            ("envoy.config.cluster.v3.Cluster", "220b08ffffffffffffffff7f1001", "connect_timeout: "),
            ("envoy.config.cluster.v3.Cluster", "220610ffffffff07", "connect_timeout: a duration out of range"),
        ])
    func refused(name: String, hex: String, expected: String) throws {
        let error = #expect(throws: ConfigError.self) { try Self.decode(name, hex) }
        #expect(error?.description.hasPrefix(expected) == true, "\(String(describing: error))")
    }

    @Test("messages nest a hundred deep and no deeper") func depth() throws {
        func nested(_ levels: Int) -> [UInt8] {
            // not_rule within not_rule
            var bytes: [UInt8] = []
            for _ in 1..<levels {
                var length = [UInt8]()
                var rest = bytes.count
                repeat {
                    length.append(UInt8(rest & 127) | (rest > 127 ? 128 : 0))
                    rest >>= 7
                } while rest > 0
                bytes = [0x42] + length + bytes
            }
            return bytes
        }
        let type = try Self.type("envoy.config.rbac.v3.Permission")
        #expect(throws: Never.self) { try Message(binary: nested(100), type: type) }
        #expect(throws: ConfigError.self) { try Message(binary: nested(101), type: type) }
    }

    // MARK: JSON

    @Test(
        "durations have their sign, nine digits and a range",
        arguments: [
            ("0s", "0s"), ("1.5s", "1.500s"), ("-0.5s", "-0.500s"), ("0.000000001s", "0.000000001s"),
            ("1.000001s", "1.000001s"),
            ("315576000000s", "315576000000s"), ("315576000001s", nil), ("1", nil), ("s", nil), (".5s", nil),
            ("1.s", nil),
            ("1.0000000001s", nil), ("--1s", nil), ("1m", nil), (" 1s", nil), ("+1s", nil),
        ] as [(String, String?)])
    func durations(text: String, written: String?) throws {
        let json: JSONValue = ["connect_timeout": .string(text)]
        let message = try? Message(json: json, type: Self.type("envoy.config.cluster.v3.Cluster"))
        #expect(message?.json() == written.map { ["connect_timeout": .string($0)] })
    }

    @Test("a packed message whose type is unknown keeps its bytes") func unknownAny() throws {
        // typed_config of type "x/y" with the bytes 01
        let message = try Self.decode("envoy.config.core.v3.TypedExtensionConfig", "12080a03782f79120101")
        #expect(message.json() == ["typed_config": ["@type": "x/y", "value": "AQ=="]])
        let node = try ConfigNode(
            try Self.decode("envoy.config.core.v3.TypedExtensionConfig", "0a016112080a03782f79120101"),
            from: ConfigText(name: "cds"))
        let error = #expect(throws: ConfigError.self) { try node.typed("typed_config") }
        #expect(error?.description == "cds: typed_config: unknown type \"x/y\"")
        #expect(node.typeNameOfAny("typed_config") == "y")
    }

    // MARK: Damage

    /// A message of many shapes, in both forms.
    private static func specimen() throws -> Message {
        try Message(
            json: [
                "name": "é", "connect_timeout": "0.25s", "lb_policy": "MAGLEV",
                "typed_extension_protocol_options": [
                    "x": ["@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"]
                ],
                "load_assignment": [
                    "cluster_name": "a",
                    "endpoints": [["priority": 1, "lb_endpoints": [["load_balancing_weight": 300]]]],
                ],
                "metadata": ["filter_metadata": ["m": ["a": [1, .null, "x", ["b": true]]]]],
                "lb_subset_config": ["default_subset": ["z": 1.5], "subset_selectors": [["keys": ["a", "b"]]]],
            ], type: type("envoy.config.cluster.v3.Cluster"))
    }

    @Test("no prefix of a message and no flipped bit in it does harm; what is read can be written and read again")
    func damagedBytes() throws {
        let message = try Self.specimen()
        let bytes = message.binary()
        #expect(try Message(binary: bytes, type: message.type) == message)
        var accepted = 0
        func attempt(_ bytes: [UInt8]) throws {
            guard let read = try? Message(binary: bytes, type: message.type) else { return }
            accepted += 1
            #expect(try Message(binary: read.binary(), type: message.type) == read)
            _ = read.json()
        }
        for count in bytes.indices { try attempt(Array(bytes.prefix(count))) }
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << bit
                try attempt(changed)
            }
        }
        #expect(accepted > 100)
    }

    @Test("no prefix of a text and no flipped bit in it does harm; what is read is written as the same message")
    func damagedText() throws {
        let message = try Self.specimen()
        let text = Array(message.json().encodedString().utf8)
        func attempt(_ bytes: [UInt8]) throws {
            guard let json = try? JSONValue.parse(bytes),
                let read = try? Message(json: json, type: message.type)
            else { return }
            #expect(try Message(json: read.json(), type: message.type) == read)
        }
        for count in text.indices { try attempt(Array(text.prefix(count))) }
        for index in text.indices {
            for bit in 0..<8 {
                var changed = text
                changed[index] ^= 1 << bit
                try attempt(changed)
            }
        }
    }
}
