import Bytes
import JSON
import MeshAPI

/// Pieces of Envoy's configuration that several resources have in common.
enum ProxyConfig {
    static let ads: JSONValue = ["ads": [:], "resource_api_version": "V3"]

    static let managerType = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

    /// Limits are for whoever wants some; a proxy of the mesh bounds nobody by itself.
    static let noLimits: JSONValue = {
        let none = JSONValue.int(Int64(UInt32.max))
        return [
            "thresholds": [
                ["max_connections": none, "max_pending_requests": none, "max_requests": none, "max_retries": none]
            ]
        ]
    }()

    /// Where Debian has them, and with it the image that proxies run from.
    static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    static func address(_ address: String, _ port: Int) -> JSONValue {
        ["socket_address": ["address": .string(address), "port_value": .int(Int64(port))]]
    }

    /// Of the listener of a destination, by which proxies also ask for it: the address is in its usual form.
    static func listenerName(_ address: String, _ port: Int) -> String {
        "\(IPAddress(address).map { "\($0)" } ?? address)_\(port)"
    }

    // MARK: Filters of connections

    static func networkFilter(_ name: String, _ type: String, _ fields: JSONObject) -> JSONValue {
        ["name": .string("envoy.filters.network.\(name)"), "typed_config": .typed(type, fields)]
    }

    /// A connection manager as all of ours are.
    static func connectionManager(_ own: JSONObject) -> JSONValue {
        var fields: JSONObject = [
            // A stream may rest as long as its ends want.
            "stream_idle_timeout": "0s",
            "upgrade_configs": [["upgrade_type": "websocket"]],
            "normalize_path": true,
            // What the application calls itself is its affair.
            "server_header_transformation": "PASS_THROUGH",
            "http_protocol_options": ["accept_http_10": true],
        ]
        for (name, value) in own { fields[name] = value }
        return networkFilter("http_connection_manager", managerType, fields)
    }

    static func tcpProxy(to cluster: String, attempts: Int64 = 1) -> JSONValue {
        tcpProxy(cluster, ["cluster": .string(cluster)], attempts: attempts)
    }

    /// - Parameter target: What says where connections go (`cluster_specifier`).
    static func tcpProxy(_ name: String, _ target: JSONObject, attempts: Int64 = 1) -> JSONValue {
        var fields = target
        if attempts > 1 { fields["max_connect_attempts"] = .int(attempts) }
        fields["stat_prefix"] = .string(name)
        return networkFilter("tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", fields)
    }

    // MARK: Filters of requests

    static let router = httpFilter("router", "envoy.extensions.filters.http.router.v3.Router")
    /// These do nothing but what a route says.
    static let fault = httpFilter("fault", "envoy.extensions.filters.http.fault.v3.HTTPFault")
    static let cors = httpFilter("cors", "envoy.extensions.filters.http.cors.v3.Cors")
    static let session = httpFilter(
        "stateful_session", "envoy.extensions.filters.http.stateful_session.v3.StatefulSession")

    static func httpFilter(_ name: String, _ type: String, _ fields: JSONObject = [:]) -> JSONValue {
        ["name": .string("envoy.filters.http.\(name)"), "typed_config": .typed(type, fields)]
    }

    // MARK: Listener filters

    static let originalDestination: JSONValue = [
        "name": "envoy.filters.listener.original_dst",
        "typed_config": .typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", [:]),
    ]

    /// Has the proxy call its app from the client's address.
    static let originalSource: JSONValue = [
        "name": "envoy.filters.listener.original_src",
        "typed_config": .typed(
            "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
            ["mark": .int(Int64(MeshMark.transparent))]),
    ]

    static let tlsInspector: JSONValue = [
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": .typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", [:]),
    ]
}
