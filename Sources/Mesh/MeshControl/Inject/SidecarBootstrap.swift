import JSON
import MeshAPI
import XDS

/// The bootstrap that a sidecar is started with: two ways out by the pod's own sockets, and everything else from the control plane.
///
/// Pure data, in a form that Envoy takes as well. `$(POD_NAME)` and the like are filled in by the kubelet, since a webhook may not
/// know them yet.
struct SidecarBootstrap {
    var labels: [String: String]
    var annotations: [String: String]
    var workload: Workload
    var namespace: String
    var serviceAccount: String
    var clusterDomain: String
    var interception = CapturePlan.Mode.redirect
    /// The app's containers, for people who look at metadata.
    var containers: [String]
    /// It learns of Services when they are first called, and not of all of them beforehand.
    var asksForListeners = true

    /// Seconds until the first answer of the control plane; the proxy serves what it has until then.
    private static let fetchTimeout = "15s"

    var json: JSONValue {
        [
            "node": ["metadata": metadata],
            "admin": ["address": Self.address("127.0.0.1", MeshPort.admin)],
            "dynamic_resources": [
                "ads_config": [
                    "api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
                    "grpc_services": [["envoy_grpc": ["cluster_name": "xds-grpc"]]],
                ],
                "lds_config": Self.ads, "cds_config": Self.ads,
            ],
            "static_resources": [
                "listeners": [
                    Self.page("health", MeshPort.health, path: "/healthz/ready", onto: "/ready"),
                    Self.page("metrics", MeshPort.metrics, path: "/stats/prometheus", onto: "/stats/prometheus"),
                ],
                "clusters": [
                    Self.pipe("sds-grpc", MeshName.secretSocket), Self.pipe("xds-grpc", MeshName.discoverySocket),
                    Self.adminCluster,
                ],
            ],
        ]
    }

    private static let ads: JSONValue = [
        "ads": [:], "resource_api_version": "V3", "initial_fetch_timeout": .string(fetchTimeout),
    ]

    /// Named as Istio's, since people and tools filter by these.
    private var metadata: JSONValue {
        var metadata: JSONValue = [
            "NAME": "$(POD_NAME)", "NAMESPACE": "$(POD_NAMESPACE)", "POD_NAME": "$(POD_NAME)",
            "SERVICE_ACCOUNT": .string(serviceAccount), "INSTANCE_IPS": "$(INSTANCE_IPS)",
            "NODE_NAME": "$(NODE_NAME)", "WORKLOAD_NAME": .string(workload.name),
            "OWNER": .string(workload.owner(in: namespace)), "CLUSTER_ID": "Kubernetes",
            "MESH_ID": .string(clusterDomain),
            "INTERCEPTION_MODE": .string(interception.rawValue),
            StateFileName.metadata: .string("\(MeshName.stateFolder)/\(MeshName.stateFile)"),
            "APP_CONTAINERS": .string(containers.joined(separator: ",")),
        ]
        if !asksForListeners { metadata[ListenersOnDemand.choice] = "false" }
        metadata["LABELS"] = Self.escaped(labels)
        metadata["ANNOTATIONS"] = Self.escaped(annotations)
        return metadata
    }

    /// Texts of users, of which the kubelet must not take anything for a variable.
    private static func escaped(_ texts: [String: String]) -> JSONValue {
        .object(
            JSONObject(
                texts.sorted { $0.key < $1.key }.map {
                    (key: $0.key, value: .string($0.value.replacing("$(", with: "$$(")))
                }))
    }

    private static func address(_ host: String, _ port: UInt16) -> JSONValue {
        ["socket_address": ["address": .string(host), "port_value": .int(Int64(port))]]
    }

    private static func endpoints(_ cluster: String, _ address: JSONValue) -> JSONValue {
        [
            "cluster_name": .string(cluster),
            "endpoints": [["lb_endpoints": [["endpoint": ["address": address]]]]],
        ]
    }

    private static func pipe(_ name: String, _ socket: String) -> JSONValue {
        [
            "name": .string(name), "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": endpoints(name, ["pipe": ["path": .string("\(MeshName.folder)/\(socket)")]]),
            "typed_extension_protocol_options": [
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": [
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": ["http2_protocol_options": [:]],
                ]
            ],
        ]
    }

    private static let adminCluster: JSONValue = [
        "name": "agent", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": endpoints("agent", address("127.0.0.1", MeshPort.admin)),
    ]

    /// One page of the admin port for everybody, and nothing else of it.
    private static func page(_ name: String, _ port: UInt16, path: String, onto target: String) -> JSONValue {
        let route: JSONValue = [
            "match": ["path": .string(path)], "route": ["cluster": "agent", "prefix_rewrite": .string(target)],
        ]
        let manager: JSONValue = [
            "@type":
                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": .string(name),
            "route_config": ["virtual_hosts": [["name": .string(name), "domains": ["*"], "routes": [route]]]],
            "http_filters": [
                [
                    "name": "envoy.filters.http.router",
                    "typed_config": ["@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"],
                ]
            ],
        ]
        return [
            "name": .string(name), "address": address("::", port, both: true),
            "filter_chains": [
                ["filters": [["name": "envoy.filters.network.http_connection_manager", "typed_config": manager]]]
            ],
        ]
    }

    private static func address(_ host: String, _ port: UInt16, both: Bool) -> JSONValue {
        var address = address(host, port)
        address["socket_address"]?["ipv4_compat"] = .bool(both)
        return address
    }
}
