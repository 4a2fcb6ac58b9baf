import JSON

/// How proxies of the mesh speak to each other: TLS whose certificates both come from the pods' own nodes, over SDS.
enum MutualTLS {
    /// What a client's hello has first among its protocols when it is a proxy of the mesh, so that a server that also takes plain text,
    /// or TLS of the application, knows it.
    static let meshProtocol = "weft"

    /// Of an endpoint that takes it, under `envoy.transport_socket_match`.
    static let mark: JSONValue = ["tlsMode": "weft"]

    /// How endpoints are spoken to, by their metadata.
    ///
    /// - Parameter accounts: Who may answer, as SPIFFE names.
    static func upstream(_ accounts: [String], serverName: String, protocols: [String]) -> JSONValue {
        [
            [
                "name": "tlsMode-weft", "match": mark,
                "transport_socket": socket(accounts, serverName: serverName, protocols: protocols),
            ],
            [
                "name": "tlsMode-disabled", "match": [:],
                "transport_socket": [
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": .typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", [:]),
                ],
            ],
        ]
    }

    /// To endpoints that all take it.
    static func socket(_ accounts: [String], serverName: String, protocols: [String]) -> JSONValue {
        client([
            "common_tls_context": common(
                accounts.map { ["exact": .string($0)] }, protocols: [meshProtocol] + protocols),
            "sni": .string(serverName),
        ])
    }

    /// To whoever is of the mesh, where nobody knows who is there.
    static func socket(toMembersOf trustDomain: String) -> JSONValue {
        client(["common_tls_context": common(members(trustDomain), protocols: [meshProtocol])])
    }

    private static func client(_ context: JSONObject) -> JSONValue {
        [
            "name": "envoy.transport_sockets.tls",
            "typed_config": .typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context),
        ]
    }

    private static func members(_ trustDomain: String) -> [JSONValue] {
        [["prefix": .string("spiffe://\(trustDomain)/")]]
    }

    /// For a chain that takes members of the mesh, and nobody else.
    static func downstream(trustDomain: String, protocols: [String]) -> JSONValue {
        [
            "name": "envoy.transport_sockets.tls",
            "typed_config": .typed(
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                [
                    "common_tls_context": common(members(trustDomain), protocols: protocols),
                    "require_client_certificate": true,
                ]),
        ]
    }

    private static func common(_ names: [JSONValue], protocols: [String]) -> JSONValue {
        [
            "alpn_protocols": .array(protocols.map { .string($0) }),
            "tls_params": ["tls_minimum_protocol_version": "TLSv1_2"],
            "tls_certificate_sds_secret_configs": [secret("default")],
            "combined_validation_context": [
                "default_validation_context": [
                    "match_typed_subject_alt_names": .array(names.map { ["san_type": "URI", "matcher": $0] })
                ],
                "validation_context_sds_secret_config": secret("ROOTCA"),
            ],
        ]
    }

    /// From the pod's own socket, which is in each proxy's bootstrap.
    private static func secret(_ name: String) -> JSONValue {
        [
            "name": .string(name),
            "sds_config": [
                "api_config_source": [
                    "api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
                    "grpc_services": [["envoy_grpc": ["cluster_name": "sds-grpc"]]],
                ],
                "initial_fetch_timeout": "0s", "resource_api_version": "V3",
            ],
        ]
    }
}

extension JSONValue {
    /// A message in an `Any`.
    static func typed(_ type: String, _ fields: JSONObject) -> JSONValue {
        var object: JSONObject = ["@type": .string("type.googleapis.com/\(type)")]
        for (name, value) in fields { object[name] = value }
        return .object(object)
    }
}
