import ClusterAPI
import JSON

/// One port of a Service as those see it that call it: pure.
struct OutboundTranslation {
    /// The Service's whole name.
    let host: String
    let cluster: String
    /// With what is spoken there as far as is known.
    let port: MeshService.Port

    /// Of the route configuration, and of the listener that gRPC's clients ask for.
    var table: String { "\(host):\(port.number)" }

    // MARK: Clusters

    /// For those without an identity.
    func plainCluster() -> JSONValue { .object(commonCluster()) }

    /// - Parameter accounts: Who may answer by mutual TLS, as SPIFFE names; where there is nobody, all is plain text.
    func meshCluster(_ accounts: [String]) -> JSONValue {
        var json = commonCluster()
        json["lb_policy"] = "LEAST_REQUEST"
        json["circuit_breakers"] = ProxyConfig.noLimits
        json["common_lb_config"] = ["healthy_panic_threshold": ["value": 0]]
        json["outlier_detection"] = [
            "consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s", "max_ejection_percent": 50,
            "enforcing_success_rate": 0,
        ]
        if !accounts.isEmpty {
            json["transport_socket_matches"] = MutualTLS.upstream(
                accounts, serverName: serverName, protocols: protocols)
        }
        return .object(json)
    }

    private var serverName: String { "outbound_.\(port.number)_._.\(host)" }
    private var protocols: [String] { port.speaksHTTP2 ? ["h2"] : port.spoken == .http ? ["http/1.1"] : [] }

    private func commonCluster() -> JSONObject {
        var json: JSONObject = [
            "name": .string(cluster), "type": "EDS", "connect_timeout": "10s",
            "eds_cluster_config": ["eds_config": ProxyConfig.ads, "service_name": .string(cluster)],
        ]
        chooseProtocol(&json)
        return json
    }

    private func chooseProtocol(_ json: inout JSONObject) {
        if port.speaksHTTP2 {
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            json["typed_extension_protocol_options"] = .object([
                options: .typed(options, ["explicit_http_config": ["http2_protocol_options": [:]]])
            ])
        }
    }

    // MARK: Listeners

    /// What a sidecar does with a connection to the Service's address.
    ///
    /// - Parameter streams: Of a port that speaks no HTTP: where its routes lead.
    func listener(_ address: String, _ streams: StreamRoutes?) -> (name: String, json: JSONValue) {
        let name = ProxyConfig.listenerName(address, port.number)
        if !port.spoken.isHTTP, let streams, !streams.isEmpty {
            return (
                name, Self.listener(name, address, port.number, chains(streams), looksAtNames: !streams.named.isEmpty)
            )
        }
        let filter =
            port.spoken.isHTTP
            ? manager(name) : ProxyConfig.tcpProxy(to: cluster, attempts: Self.connectAttempts)
        return (name, Self.listener(name, address, port.number, [["filters": [filter]]]))
    }

    /// Endpoints that are called for one connection, as many as for a request.
    private static let connectAttempts: Int64 = 3

    /// By the routes of the Service's port.
    private func manager(_ name: String) -> JSONValue {
        ProxyConfig.connectionManager([
            "stat_prefix": .string("outbound_\(name)"),
            "rds": ["config_source": ProxyConfig.ads, "route_config_name": .string(table)],
            "http_filters": [ProxyConfig.fault, ProxyConfig.cors, ProxyConfig.session, ProxyConfig.router],
        ])
    }

    private func chains(_ streams: StreamRoutes) -> [JSONValue] {
        var chains = streams.named.map { named -> JSONValue in
            let match: JSONValue =
                named.hostname.isEmpty
                ? ["transport_protocol": "tls"] : ["server_names": [.string(named.hostname)]]
            return [
                "name": .string(Hostname.domain(named.hostname)), "filter_chain_match": match,
                "filters": [ProxyConfig.tcpProxy(cluster, named.target, attempts: Self.connectAttempts)],
            ]
        }
        if let rest = streams.rest {
            chains.append([
                "name": "rest", "filters": [ProxyConfig.tcpProxy(cluster, rest, attempts: Self.connectAttempts)],
            ])
        }
        return chains
    }

    private static func listener(
        _ name: String, _ address: String, _ port: Int, _ chains: [JSONValue], looksAtNames: Bool = false
    ) -> JSONValue {
        var json: JSONObject = [
            "name": .string(name), "address": ProxyConfig.address(address, port), "bind_to_port": false,
            "traffic_direction": "OUTBOUND", "filter_chains": .array(chains),
        ]
        if looksAtNames {
            json["listener_filters"] = [ProxyConfig.tlsInspector]
            // Who says nothing waits for a server that speaks first, and says no name.
            json["listener_filters_timeout"] = InboundTranslation.inspectionTime
            json["continue_on_listener_filters_timeout"] = true
        }
        return .object(json)
    }

    // MARK: Pods that are called by their own addresses

    /// Of a Service without an address: to the pod that was called, by mutual TLS.
    var directCluster: String { "outbound|\(port.number)|direct|\(host)" }

    func directCluster(_ accounts: [String]) -> JSONValue {
        var json: JSONObject = [
            "name": .string(directCluster), "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
            "connect_timeout": "10s", "circuit_breakers": ProxyConfig.noLimits,
            "transport_socket": MutualTLS.socket(accounts, serverName: serverName, protocols: protocols),
        ]
        chooseProtocol(&json)
        return .object(json)
    }

    /// What a sidecar does with a connection to a pod of it: what the Service's routes say, or the pod that was called, by mutual TLS.
    /// A pod that takes none needs nothing of the latter kind.
    func directListener(_ address: String, _ number: Int, isRouted: Bool) -> (name: String, json: JSONValue) {
        let name = ProxyConfig.listenerName(address, number)
        guard !isRouted else {
            return (name, Self.listener(name, address, number, [["filters": [manager(name)]]]))
        }
        let route: JSONValue = [
            "match": ["prefix": "/"], "name": "default",
            "route": ["cluster": .string(directCluster), "timeout": "0s"],
        ]
        let filter: JSONValue =
            port.spoken.isHTTP
            ? ProxyConfig.connectionManager([
                "stat_prefix": .string("outbound_\(name)"), "http_filters": [ProxyConfig.router],
                "route_config": InboundTranslation.table(table, route),
            ])
            : ProxyConfig.tcpProxy(to: directCluster, attempts: Self.connectAttempts)
        return (name, Self.listener(name, address, number, [["filters": [filter]]]))
    }

    /// What a client without listeners of its own asks for by the name of what it wants to reach.
    func clientListener() -> JSONValue {
        [
            "name": .string(table),
            "api_listener": [
                "api_listener": .typed(
                    ProxyConfig.managerType,
                    [
                        "stat_prefix": .string(table),
                        "rds": ["config_source": ProxyConfig.ads, "route_config_name": .string(table)],
                        "http_filters": [ProxyConfig.router],
                    ])
            ],
        ]
    }
}
