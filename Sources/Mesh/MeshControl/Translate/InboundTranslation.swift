import Discovery
import JSON
import XDS

/// What a pod's own proxy gets: the listeners to which its connections are redirected, and the clusters that lead to its application.
/// Pure.
struct InboundTranslation {
    static let outboundPort = 15001
    static let inboundPort = 15006
    /// Where the proxy calls its application from, so that capture lets these connections through and sends those that the application
    /// makes to itself by a Service's address the way of all others (Istio's address).
    static let loopback = (v4: "127.0.0.6", v6: "::6")
    /// Of a connection whose client says nothing: it is plain text then. A proxy of the mesh says hello at once.
    static let inspectionTime: JSONValue = "1s"

    let trustDomain: String
    let shape: InboundShape

    func changes() throws(ConfigError) -> [ServedChange] {
        var changes: [ServedChange] = []
        func add(_ kind: ResourceKind, _ name: String, _ json: JSONValue) throws(ConfigError) {
            changes.append(ServedChange(kind, name, try Message.bytes(of: kind, json)))
        }
        try add(.cluster, Self.passthrough, Self.original(Self.passthrough, bindsTo: nil))
        try add(.cluster, Self.opportunistic, unanswered())
        try add(.cluster, Self.inboundPassthrough, inboundCluster(Self.inboundPassthrough))
        try add(
            .cluster, Self.blackHole, ["name": .string(Self.blackHole), "type": "STATIC", "connect_timeout": "10s"])
        let tokens = TokenTranslation(
            shape.requests.whole + shape.requests.ports.sorted { $0.key < $1.key }.flatMap(\.value))
        for (name, cluster) in tokens.clusters + shape.authorizers.clusters { try add(.cluster, name, cluster) }
        for port in shape.ports {
            let name = Self.cluster(port.number)
            try add(.cluster, name, inboundCluster(name))
            if port.spoken.isHTTP { try add(.routeConfiguration, name, table(name, port.number)) }
        }
        try add(.listener, "virtualOutbound", virtualOutbound())
        try add(.listener, "virtualInbound", virtualInbound())
        return changes
    }

    // MARK: Routes

    /// All requests to the application, as far as they are allowed.
    private func table(_ cluster: String, _ port: Int) -> JSONValue {
        var route: JSONObject = [
            "match": ["prefix": "/"], "name": "default",
            "route": ["cluster": .string(cluster), "timeout": "0s"],
        ]
        let settings = AuthorizationTranslation.requestSettings(shape.authorizations.at(port), shape.authorizers)
        if !settings.isEmpty { route["typed_per_filter_config"] = .object(settings) }
        return Self.table(cluster, .object(route))
    }

    static func table(_ name: String, _ route: JSONValue) -> JSONValue {
        [
            "name": .string(name),
            "virtual_hosts": [["name": "inbound", "domains": ["*"], "routes": [route]]],
        ]
    }

    // MARK: Clusters

    static let passthrough = "PassthroughCluster"
    /// For destinations that may be the mesh's, when the control plane cannot say.
    static let opportunistic = "OpportunisticPassthroughCluster"
    static let inboundPassthrough = "InboundPassthroughCluster"
    static let blackHole = "BlackHoleCluster"

    static func cluster(_ port: Int) -> String { "inbound|\(port)||" }

    /// To the pod's own address, as the client wanted it.
    private func inboundCluster(_ name: String) -> JSONValue {
        // From the client's address, then.
        guard !shape.keepsClients else { return Self.original(name, bindsTo: nil) }
        var bind: JSONObject = [
            "source_address": ["address": .string(Self.loopback.v4), "port_value": 0]
        ]
        if shape.isDualStack {
            bind["extra_source_addresses"] = [
                ["address": ["address": .string(Self.loopback.v6), "port_value": 0]]
            ]
        }
        return Self.original(name, bindsTo: .object(bind))
    }

    /// To where the client wanted to go: by mutual TLS if a member of the mesh answers, as it did before the proxy first asked.
    private func unanswered() -> JSONValue {
        var json = Self.original(Self.opportunistic, bindsTo: nil).object ?? JSONObject()
        json["transport_socket"] = MutualTLS.socket(toMembersOf: trustDomain)
        json["metadata"] = [
            "filter_metadata": .object([PlaintextFallbackName.metadata: ["handshake_timeout": 1, "memory": 60]])
        ]
        return .object(json)
    }

    private static func original(_ name: String, bindsTo source: JSONValue?) -> JSONValue {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        var json: JSONObject = [
            "name": .string(name), "type": "ORIGINAL_DST", "connect_timeout": "10s", "lb_policy": "CLUSTER_PROVIDED",
            "circuit_breakers": ProxyConfig.noLimits,
            "typed_extension_protocol_options": .object([
                options: .typed(
                    options,
                    [
                        "use_downstream_protocol_config": [
                            "http_protocol_options": [:], "http2_protocol_options": [:],
                        ]
                    ])
            ]),
        ]
        if let source { json["upstream_bind_config"] = source }
        return .object(json)
    }

    // MARK: Listeners

    private func virtualListener(_ name: String, port: Int, _ own: JSONObject) -> JSONValue {
        var json: JSONObject = ["name": .string(name), "address": ProxyConfig.address("0.0.0.0", port)]
        if shape.isDualStack { json["additional_addresses"] = [["address": ProxyConfig.address("::", port)]] }
        for (key, value) in own { json[key] = value }
        return .object(json)
    }

    /// For whoever comes to the proxy's own port, where a connection would be led to the proxy again.
    private func refusal(_ name: String, _ port: Int) -> JSONValue {
        [
            "name": .string(name), "filter_chain_match": ["destination_port": .int(Int64(port))],
            "filters": [ProxyConfig.tcpProxy(to: Self.blackHole)],
        ]
    }

    /// A proxy that can asks for the listeners of other destinations by name, and holds a call for so long.
    private static let onDemand: JSONValue = [
        "filter_metadata": .object([ListenersOnDemand.metadata: ["timeout": 1.5, "idle_timeout": 600]])
    ]

    private func virtualOutbound() -> JSONValue {
        virtualListener(
            "virtualOutbound", port: Self.outboundPort,
            [
                "traffic_direction": "OUTBOUND", "use_original_dst": true, "metadata": Self.onDemand,
                "filter_chains": [
                    refusal("virtualOutbound-blackhole", Self.outboundPort),
                    [
                        "name": "virtualOutbound-catchall-tcp", "filters": [ProxyConfig.tcpProxy(to: Self.passthrough)],
                        "metadata": [
                            "filter_metadata": .object([
                                ListenersOnDemand.metadata: [
                                    ListenersOnDemand.unansweredCluster: .string(Self.opportunistic)
                                ]
                            ])
                        ],
                    ],
                ],
            ])
    }

    private func virtualInbound() -> JSONValue {
        var chains = [refusal("virtualInbound-blackhole", Self.inboundPort)]
        for port in shape.ports {
            chains +=
                InboundChains(self, port: port.number, port.spoken, shape.modes.mode(port.number, port.spoken)).all
        }
        let known = Set(shape.ports.map(\.number))
        for (port, mode) in shape.modes.ports.sorted(by: { $0.key < $1.key }) where !known.contains(port) {
            chains += InboundChains(self, port: port, .unknown, mode, cluster: Self.inboundPassthrough).all
        }
        chains += InboundChains(self, port: nil, .unknown, shape.modes.general, cluster: Self.inboundPassthrough).all
        var own: JSONObject = [
            "traffic_direction": "INBOUND", "metadata": Self.serverFirst, "listener_filters": .array(listenerFilters()),
            "listener_filters_timeout": Self.inspectionTime, "continue_on_listener_filters_timeout": true,
            "filter_chains": .array(chains),
        ]
        if shape.keepsClients { own["transparent"] = true }
        return virtualListener("virtualInbound", port: Self.inboundPort, own)
    }

    /// A proxy that can calls a server whose client says nothing long before the time is over: it may be the server that speaks first.
    private static let serverFirst: JSONValue = [
        "filter_metadata": .object([ServerFirstName.metadata: ["patience": 0.2, "memory": 60]])
    ]

    /// Where nothing but plain text is taken nothing is looked at, so a server may speak first.
    private func listenerFilters() -> [JSONValue] {
        var inspector = ProxyConfig.tlsInspector.object ?? JSONObject()
        let plain = shape.ports.filter { shape.modes.mode($0.number, $0.spoken) == .disable && !$0.spoken.isHTTP }
            .map(\.number)
        if !plain.isEmpty {
            let rules = plain.map { port -> JSONValue in
                ["destination_port_range": ["start": .int(Int64(port)), "end": .int(Int64(port + 1))]]
            }
            inspector["filter_disabled"] = rules.count == 1 ? rules[0] : ["or_match": ["rules": .array(rules)]]
        }
        return (shape.keepsClients ? [ProxyConfig.originalSource] : [])
            + [ProxyConfig.originalDestination, .object(inspector)]
    }
}
