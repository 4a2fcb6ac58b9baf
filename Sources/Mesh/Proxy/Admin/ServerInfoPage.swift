import Bytes
import JSON

/// The pages that tell of the process.
enum ServerInfoPage {
    static let version = "0.1.0/weft-proxy/Clean/RELEASE/OpenSSL"

    /// An `envoy.config.core.v3.BuildVersion`.
    static let buildVersion: JSONValue = [
        "version": ["major_number": 0, "minor_number": 1, "patch": 0],
        "metadata": [
            "build.type": "RELEASE", "revision.sha": "weft-proxy", "revision.status": "Clean", "ssl.version": "OpenSSL",
        ],
    ]

    /// What the proxy understands besides its core, as `envoy.config.core.v3.Extension`s: control planes ask for this.
    static let extensions: JSONValue = .array(
        known.flatMap { category, types in
            types.map { name, type in
                [
                    "name": .string(name), "category": .string(category), "type_descriptor": "", "disabled": false,
                    "type_urls": [.string("envoy.extensions.\(type)")],
                ]
            }
        })

    /// The messages that HTTP filters are configured by.
    static let httpFilterTypes = Set(
        (known.first { $0.key == "envoy.filters.http" }?.value ?? [:]).map { "envoy.extensions.\($0.value)" })

    private static let known: KeyValuePairs<String, KeyValuePairs<String, String>> = [
        "envoy.filters.http": [
            "envoy.filters.http.basic_auth": "filters.http.basic_auth.v3.BasicAuth",
            "envoy.filters.http.buffer": "filters.http.buffer.v3.Buffer",
            "envoy.filters.http.compressor": "filters.http.compressor.v3.Compressor",
            "envoy.filters.http.cors": "filters.http.cors.v3.Cors",
            "envoy.filters.http.csrf": "filters.http.csrf.v3.CsrfPolicy",
            "envoy.filters.http.decompressor": "filters.http.decompressor.v3.Decompressor",
            "envoy.filters.http.ext_authz": "filters.http.ext_authz.v3.ExtAuthz",
            "envoy.filters.http.fault": "filters.http.fault.v3.HTTPFault",
            "envoy.filters.http.grpc_stats": "filters.http.grpc_stats.v3.FilterConfig",
            "envoy.filters.http.grpc_web": "filters.http.grpc_web.v3.GrpcWeb",
            "envoy.filters.http.header_mutation": "filters.http.header_mutation.v3.HeaderMutation",
            "envoy.filters.http.header_to_metadata": "filters.http.header_to_metadata.v3.Config",
            "envoy.filters.http.health_check": "filters.http.health_check.v3.HealthCheck",
            "envoy.filters.http.jwt_authn": "filters.http.jwt_authn.v3.JwtAuthentication",
            "envoy.filters.http.local_ratelimit": "filters.http.local_ratelimit.v3.LocalRateLimit",
            "envoy.filters.http.on_demand": "filters.http.on_demand.v3.OnDemand",
            "envoy.filters.http.ratelimit": "filters.http.ratelimit.v3.RateLimit",
            "envoy.filters.http.rbac": "filters.http.rbac.v3.RBAC",
            "envoy.filters.http.router": "filters.http.router.v3.Router",
            "envoy.filters.http.set_metadata": "filters.http.set_metadata.v3.Config",
            "envoy.filters.http.stateful_session": "filters.http.stateful_session.v3.StatefulSession",
        ],
        "envoy.filters.network": [
            "envoy.filters.network.connection_limit": "filters.network.connection_limit.v3.ConnectionLimit",
            "envoy.filters.network.direct_response": "filters.network.direct_response.v3.Config",
            "envoy.filters.network.echo": "filters.network.echo.v3.Echo",
            "envoy.filters.network.http_connection_manager":
                "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "envoy.filters.network.local_ratelimit": "filters.network.local_ratelimit.v3.LocalRateLimit",
            "envoy.filters.network.rbac": "filters.network.rbac.v3.RBAC",
            "envoy.filters.network.sni_cluster": "filters.network.sni_cluster.v3.SniCluster",
            "envoy.filters.network.tcp_proxy": "filters.network.tcp_proxy.v3.TcpProxy",
        ],
        "envoy.filters.listener": [
            "envoy.filters.listener.http_inspector": "filters.listener.http_inspector.v3.HttpInspector",
            "envoy.filters.listener.original_dst": "filters.listener.original_dst.v3.OriginalDst",
            "envoy.filters.listener.proxy_protocol": "filters.listener.proxy_protocol.v3.ProxyProtocol",
            "envoy.filters.listener.tls_inspector": "filters.listener.tls_inspector.v3.TlsInspector",
        ],
        "envoy.transport_sockets.downstream": [
            "envoy.transport_sockets.tls": "transport_sockets.tls.v3.DownstreamTlsContext"
        ],
        "envoy.transport_sockets.upstream": [
            "envoy.transport_sockets.tls": "transport_sockets.tls.v3.UpstreamTlsContext",
            "envoy.transport_sockets.upstream_proxy_protocol":
                "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        ],
        "envoy.access_loggers": [
            "envoy.access_loggers.file": "access_loggers.file.v3.FileAccessLog",
            "envoy.access_loggers.stderr": "access_loggers.stream.v3.StderrAccessLog",
            "envoy.access_loggers.stdout": "access_loggers.stream.v3.StdoutAccessLog",
        ],
        "envoy.clusters": ["envoy.clusters.dns": "clusters.dns.v3.DnsCluster"],
        "envoy.upstream_options": [
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": "upstreams.http.v3.HttpProtocolOptions"
        ],
    ]

    static func memory() -> AdminAnswer {
        let memory = ProcessMemory.now()
        let page: JSONValue = [
            "allocated": .string("\(memory.allocated)"), "heap_size": .string("\(memory.heap)"),
            "pageheap_unmapped": "0", "pageheap_free": .string("\(memory.free)"), "total_thread_cache": "0",
            "total_physical_bytes": .string("\(memory.resident)"),
        ]
        return .json(page.adminText)
    }
}

extension AdminServer {
    func serverInfo() async -> AdminAnswer {
        let uptime = await server.uptime
        let age = JSONValue.string("\(uptime.components.seconds)s")
        let page: JSONValue = [
            "version": .string(ServerInfoPage.version), "state": .string(await server.state.rawValue),
            "uptime_current_epoch": age, "uptime_all_epochs": age, "hot_restart_version": "disabled",
            "hot_restart_initializing": false,
            "command_line_options": server.options.commandLine(concurrency: server.workers.count),
            "node": await server.node,
        ]
        return .json(page.adminText)
    }

    func initDump() async -> AdminAnswer {
        guard await server.state == .initializing else { return .json("{}\n") }
        return .json(
            "{\n \"unready_targets_dumps\": [{\"name\": \"bootstrap\", \"target_names\": [\"resources\"]}]\n}\n")
    }

    func listeners(_ request: AdminRequest) async -> AdminAnswer {
        let bound = await server.boundListeners()
        guard request["format"] == "json" else {
            return AdminAnswer(bound.map { "\($0.name)::\($0.addresses[0])\n" }.joined())
        }
        let statuses = bound.map { listener -> JSONValue in
            var status: JSONObject = ["name": .string(listener.name), "local_address": listener.addresses[0].envoyJSON]
            if listener.addresses.count > 1 {
                status["additional_local_addresses"] = .array(listener.addresses.dropFirst().map(\.envoyJSON))
            }
            return .object(status)
        }
        return .json(JSONValue.object(["listener_statuses": .array(statuses)]).adminText)
    }

    func certificates() async -> AdminAnswer {
        .json(JSONValue.object(["certificates": .array(await server.certificates())]).adminText)
    }
}

extension JSONValue {
    /// As Envoy's pages are written: one space a level.
    var adminText: String { pretty(indent: 1) + "\n" }
}

extension SocketAddress {
    /// As `envoy.config.core.v3.Address`.
    var envoyJSON: JSONValue {
        switch self {
        case .ip(let address, let port, _):
            [
                "socket_address": [
                    "address": .string("\(address)"), "port_value": .int(Int64(port.rawValue)),
                ]
            ]
        case .unix(let path): ["pipe": ["path": .string(path)]]
        case .abstract(let name): ["pipe": ["path": .string("@" + name)]]
        case .netlink: [:]
        }
    }
}
