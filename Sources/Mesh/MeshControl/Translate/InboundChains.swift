import JSON

/// The filter chains of one port of a pod, or of all that have none of their own: by whom it may be reached, in which ways.
struct InboundChains {
    private let translation: InboundTranslation
    private let port: Int?
    private let spoken: PortProtocol
    private let mode: MutualTLSMode
    private let cluster: String

    private var shape: InboundShape { translation.shape }

    init(
        _ translation: InboundTranslation, port: Int?, _ spoken: PortProtocol, _ mode: MutualTLSMode,
        cluster: String? = nil
    ) {
        self.translation = translation
        self.port = port
        self.spoken = spoken
        self.mode = mode
        self.cluster = cluster ?? InboundTranslation.cluster(port ?? 0)
    }

    var all: [JSONValue] {
        switch mode {
        case .disable:
            // TLS is the application's here, whatever it is.
            spoken.isHTTP ? [plain("raw_buffer"), opaque("tls")] : [opaque(nil)]
        case .permissive:
            // No chain of another kind is sought once the transport is known, so each transport has all of its own.
            [mutual([MutualTLS.meshProtocol]), plain("raw_buffer"), opaque("tls")]
        case .strict:
            // Plain text finds no chain where nothing can be answered, and its connection is reset.
            spoken.isHTTP ? [mutual([]), refusing] : [mutual([])]
        }
    }

    // MARK: Chains

    private func chain(
        _ kind: String, _ transport: String?, protocols: [String] = [], socket: JSONValue? = nil, _ filters: [JSONValue]
    ) -> JSONValue {
        var match = JSONObject()
        if let port { match["destination_port"] = .int(Int64(port)) }
        if let transport { match["transport_protocol"] = .string(transport) }
        if !protocols.isEmpty { match["application_protocols"] = .array(protocols.map { .string($0) }) }
        var json: JSONObject = [
            "name": .string("inbound|\(port.map { String($0) } ?? "")|\(kind)"), "filter_chain_match": .object(match),
            "filters": .array(filters),
        ]
        if let socket { json["transport_socket"] = socket }
        return .object(json)
    }

    /// Members of the mesh, with their identity.
    private func mutual(_ protocols: [String]) -> JSONValue {
        chain(
            "mtls", "tls", protocols: protocols,
            socket: MutualTLS.downstream(
                trustDomain: translation.trustDomain,
                protocols: spoken.isHTTP ? ["h2", "http/1.1"] : [MutualTLS.meshProtocol]),
            filters(isMutual: true))
    }

    private func plain(_ transport: String) -> JSONValue { chain("plain", transport, filters(isMutual: false)) }

    /// Whatever it is: bytes, from who knows whom.
    private func opaque(_ transport: String?) -> JSONValue { chain("opaque", transport, connectionFilters) }

    private func filters(isMutual: Bool) -> [JSONValue] {
        guard spoken.isHTTP else { return connectionFilters }
        let routes: JSONValue = ["config_source": ProxyConfig.ads, "route_config_name": .string(cluster)]
        let authorizations = shape.authorizations.at(port)
        let isAudited = authorizations.contains { $0.action == .audit }
        return [
            manager(
                isMutual: isMutual,
                filters: AuthorizationTranslation.askingFilters(authorizations, shape.authorizers)
                    + [TokenTranslation(shape.requests.at(port)).filter].compactMap(\.self)
                    + AuthorizationTranslation.requestFilters(isAudited: isAudited) + [ProxyConfig.router],
                isAudited ? ["rds": routes, "access_log": [AuthorizationTranslation.auditLog]] : ["rds": routes])
        ]
    }

    private var connectionFilters: [JSONValue] {
        AuthorizationTranslation.connectionFilters(shape.authorizations.at(port)) + [ProxyConfig.tcpProxy(to: cluster)]
    }

    /// Says to who comes in plain text why he is not let in.
    private var refusing: JSONValue {
        let sentence =
            "\(shape.namespace)/\(shape.workload) takes nothing but mutual TLS on port \(port ?? 0) (PeerAuthentication STRICT): "
            + "call it from a pod with a sidecar\n"
        return chain(
            "refused", "raw_buffer",
            [
                manager(
                    isMutual: false, filters: [ProxyConfig.router],
                    [
                        "route_config": InboundTranslation.table(
                            cluster,
                            [
                                "match": ["prefix": "/"], "name": "strict",
                                "direct_response": ["status": 403, "body": ["inline_string": .string(sentence)]],
                            ])
                    ])
            ])
    }

    private func manager(isMutual: Bool, filters: [JSONValue], _ routes: JSONObject) -> JSONValue {
        var fields = routes
        fields["stat_prefix"] = .string("inbound_0.0.0.0_\(port ?? 0)")
        fields["http_filters"] = .array(filters)
        // Nobody says himself who he is.
        fields["forward_client_cert_details"] = isMutual ? "SANITIZE_SET" : "SANITIZE"
        if isMutual { fields["set_current_client_cert_details"] = ["subject": true, "dns": true, "uri": true] }
        return ProxyConfig.connectionManager(fields)
    }
}
