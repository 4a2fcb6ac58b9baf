import ClusterAPI
import JSON
import XDS

/// A gateway's listeners and secrets in Envoy's words: pure.
struct GatewayResources {
    let gateway: MeshGateway
    let plan: GatewayPlan
    let world: MeshWorld
    /// Who may come in.
    let authorizations: [AuthorizationPolicy]
    /// Whom they ask.
    let authorizers: Authorizers
    /// Whose tokens are looked at.
    let tokens: TokenTranslation

    // MARK: Listeners

    /// What proxies listen on for a port.
    ///
    /// - Parameter streams: Of TLS and TCP listeners, by place in the plan, where connections go: by hostname, "" being any.
    func listener(_ port: Int, _ streams: [Int: [(hostname: String, target: JSONObject)]]) -> JSONValue? {
        var chains: [JSONValue] = []
        var hasManager = false
        for (index, listener) in plan.listeners.enumerated() where listener.isUsable && listener.spec.port == port {
            switch listener.spec.scheme {
            case "HTTP":
                // All of them are one chain: the table knows whose a host is.
                if !hasManager { chains.append(["filters": [manager(listener)]]) }
                hasManager = true
            case "HTTPS":
                chains.append(
                    .object(
                        [
                            "name": .string(listener.section),
                            "filter_chain_match": serverNames(listener.spec.hostname),
                            "transport_socket": termination(listener), "filters": [manager(listener)],
                        ]))
            default:
                for (hostname, target) in streams[index] ?? [] {
                    var chain: JSONObject = [
                        "name": .string("\(listener.section) \(Hostname.domain(hostname))"),
                        "filters": .array(
                            AuthorizationTranslation.connectionFilters(authorizations)
                                + [ProxyConfig.tcpProxy("\(listener.section).\(port)", target)]),
                    ]
                    if listener.isTLS { chain["filter_chain_match"] = serverNames(hostname) }
                    if listener.isEnded { chain["transport_socket"] = termination(listener) }
                    chains.append(.object(chain))
                }
            }
        }
        guard !chains.isEmpty else { return nil }
        var json: JSONObject = [
            "name": .string(Self.name(port)), "address": address(port), "traffic_direction": "OUTBOUND",
            "per_connection_buffer_limit_bytes": 32768, "filter_chains": .array(chains),
        ]
        if plan.usable(on: port).contains(where: \.isTLS) {
            json["listener_filters"] = [ProxyConfig.tlsInspector]
        }
        return .object(json)
    }

    static func name(_ port: Int) -> String { "0.0.0.0_\(port)" }

    /// Both families where the gateway's own Service has both.
    private func address(_ port: Int) -> JSONValue {
        let isDual = world.services[gateway.workload]?.addresses.contains { $0.contains(":") } ?? false
        var socket: JSONObject = ["address": isDual ? "::" : "0.0.0.0", "port_value": .int(Int64(port))]
        if isDual { socket["ipv4_compat"] = true }
        return ["socket_address": .object(socket)]
    }

    private func serverNames(_ hostname: String) -> JSONValue {
        hostname.isEmpty ? ["transport_protocol": "tls"] : ["server_names": [.string(hostname)]]
    }

    private func manager(_ listener: GatewayPlan.Listener) -> JSONValue {
        let isAudited = authorizations.contains { $0.action == .audit }
        // A preflight has nothing to show, so it is answered before anybody asks for it.
        let filters =
            [ProxyConfig.cors] + AuthorizationTranslation.askingFilters(authorizations, authorizers)
            + [tokens.filter].compactMap(\.self)
            + AuthorizationTranslation.requestFilters(isAudited: isAudited)
            + [ProxyConfig.fault, ProxyConfig.session, ProxyConfig.router]
        var own: JSONObject = [
            "stat_prefix": .string(listener.table),
            "rds": ["config_source": ProxyConfig.ads, "route_config_name": .string(listener.table)],
            // Clients are not ours: what they say of where they come from is nothing to go by.
            "use_remote_address": true, "stream_idle_timeout": "300s",
            "http_filters": .array(filters),
        ]
        if isAudited { own["access_log"] = [AuthorizationTranslation.auditLog] }
        return ProxyConfig.connectionManager(own)
    }

    // MARK: TLS

    private func termination(_ listener: GatewayPlan.Listener) -> JSONValue {
        var common: JSONObject = [
            "tls_params": ["tls_minimum_protocol_version": "TLSv1_2"],
            "tls_certificate_sds_secret_configs": .array(listener.certificates.map { Self.reference($0) }),
        ]
        if listener.isOfRequests { common["alpn_protocols"] = ["h2", "http/1.1"] }
        var fields = JSONObject()
        if let validation = listener.clients {
            var context: JSONObject = ["trusted_ca": ["inline_string": .string(validation.authorities)]]
            if validation.isOptional { context["trust_chain_verification"] = "ACCEPT_UNTRUSTED" }
            common["validation_context"] = .object(context)
            fields["require_client_certificate"] = .bool(!validation.isOptional)
        }
        fields["common_tls_context"] = .object(common)
        return [
            "name": "envoy.transport_sockets.tls",
            "typed_config": .typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", fields),
        ]
    }

    /// Over the stream that the listener came by.
    static func reference(_ secret: ObjectKey) -> JSONValue {
        ["name": .string(name(ofSecret: secret)), "sds_config": ProxyConfig.ads]
    }

    static func name(ofSecret key: ObjectKey) -> String { "kubernetes://\(key.namespace)/\(key.name)" }

    static func secret(_ secret: MeshSecret) -> JSONValue {
        [
            "name": .string(name(ofSecret: secret.key)),
            "tls_certificate": [
                "certificate_chain": ["inline_string": .string(secret.certificate)],
                "private_key": ["inline_string": .string(secret.privateKey)],
            ],
        ]
    }
}
