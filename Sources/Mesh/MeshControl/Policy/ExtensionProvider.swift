import ClusterAPI
import JSON

/// Somebody outside of the proxy who decides on requests: an entry of `extensionProviders` in Istio's MeshConfig that is
/// `envoyExtAuthzHttp` or `envoyExtAuthzGrpc`. Who he is for, AuthorizationPolicies of the action CUSTOM say.
struct ExtensionProvider: Hashable, Sendable {
    enum Form: String, CaseIterable, Sendable {
        case http = "envoyExtAuthzHttp"
        case grpc = "envoyExtAuthzGrpc"
    }

    /// Istio's: as good as for ever, so what is given up is said by whoever writes a shorter one.
    private static let timeout = "600s"

    let name: String
    let form: Form
    let host: String
    let port: Int
    private let fields: JSONValue

    /// Nil for what authorizes nothing: those that trace, log and count.
    init?(_ json: JSONValue) {
        guard let form = Form.allCases.first(where: { json[$0.rawValue] != nil }) else { return nil }
        self.form = form
        name = json.text("name")
        fields = json[form.rawValue] ?? .null
        // Of `namespace/host` the host says all.
        host = String(fields.text("service").split(separator: "/").last ?? "")
        port = Int(fields.number("port"))
        guard !name.isEmpty, !host.isEmpty, (1...65535).contains(port) else { return nil }
    }

    // MARK: The filter

    /// - Parameter condition: When it is asked (`envoy.type.matcher.v3.MetadataMatcher`).
    func filter(_ cluster: String, when condition: JSONValue) -> JSONObject {
        var json: JSONObject = [
            "transport_api_version": "V3", "filter_enabled_metadata": condition,
            "failure_mode_allow": .bool(fields["failOpen"]?.bool ?? false),
        ]
        if fields["clearRouteCache"]?.bool == true { json["clear_route_cache"] = true }
        if let status = Int64(fields.text("statusOnError")) ?? fields["statusOnError"]?.int {
            json["status_on_error"] = ["code": .int(status)]
        }
        if let body = fields["includeRequestBodyInCheck"] {
            json["with_request_body"] = [
                "max_request_bytes": .int(body.number("maxRequestBytes")),
                "allow_partial_message": .bool(body["allowPartialMessage"]?.bool ?? false),
                "pack_as_bytes": .bool(body["packAsBytes"]?.bool ?? false),
            ]
        }
        let timeout = JSONValue.string(fields.text("timeout").isEmpty ? Self.timeout : fields.text("timeout"))
        switch form {
        case .grpc:
            json["grpc_service"] = [
                "envoy_grpc": ["cluster_name": .string(cluster), "authority": .string(host)], "timeout": timeout,
            ]
        case .http:
            let asked = headers("includeRequestHeadersInCheck") ?? headers("includeHeadersInCheck")
            if let asked { json["allowed_headers"] = asked }
            json["http_service"] = service(cluster, timeout)
        }
        return json
    }

    private func service(_ cluster: String, _ timeout: JSONValue) -> JSONValue {
        var service: JSONObject = [
            "server_uri": [
                "uri": .string("http://\(host):\(port)"), "cluster": .string(cluster), "timeout": timeout,
            ]
        ]
        if !fields.text("pathPrefix").isEmpty { service["path_prefix"] = .string(fields.text("pathPrefix")) }
        let added = (fields["includeAdditionalHeadersInCheck"]?.object ?? JSONObject()).map {
            name, value -> JSONValue in
            ["key": .string(name), "value": .string(value.string ?? "")]
        }
        if !added.isEmpty { service["authorization_request"] = ["headers_to_add": .array(added)] }
        var answer = JSONObject()
        for (field, member) in [
            ("allowed_upstream_headers", "headersToUpstreamOnAllow"),
            ("allowed_client_headers", "headersToDownstreamOnDeny"),
            ("allowed_client_headers_on_success", "headersToDownstreamOnAllow"),
        ] {
            if let names = headers(member) { answer[field] = names }
        }
        if !answer.isEmpty { service["authorization_response"] = .object(answer) }
        return .object(service)
    }

    /// Names, of which a star may stand at either end.
    private func headers(_ member: String) -> JSONValue? {
        let patterns = fields.list(member).compactMap(\.string).map { name -> JSONValue in
            let (kind, text) =
                name.hasPrefix("*")
                ? ("suffix", name.dropFirst())
                : name.hasSuffix("*")
                    ? ("prefix", name.dropLast()) : ("exact", name[...])
            // A star alone: all of them.
            guard !text.isEmpty else { return ["safe_regex": ["regex": ".*"]] }
            return .object([kind: .string(String(text)), "ignore_case": true])
        }
        return patterns.isEmpty ? nil : ["patterns": .array(patterns)]
    }
}

/// Those whom policies of the action CUSTOM ask, as far as they are known: pure.
struct Authorizers: Hashable, Sendable {
    private struct Entry: Hashable {
        var provider: ExtensionProvider
        var cluster: JSONValue
    }

    private let entries: [String: Entry]

    /// - Parameter cluster: That of a Service's port, as proxies of the mesh have it.
    init(
        _ policies: some Sequence<AuthorizationPolicy>, _ world: MeshWorld,
        cluster: (ObjectKey, MeshService.Port) -> JSONValue
    ) {
        entries = policies.reduce(into: [:]) { entries, policy in
            guard let name = policy.provider, entries[name] == nil, let provider = world.provider(name) else { return }
            entries[name] = Entry(provider: provider, cluster: Self.cluster(provider, world, cluster))
        }
    }

    private static func name(_ provider: ExtensionProvider) -> String {
        "ext_authz|\(provider.port)|\(provider.form == .grpc ? "grpc" : "http")|\(provider.host)"
    }

    /// A Service is called as all are, by mutual TLS where it takes that; whatever else it is by its name, in plain text.
    private static func cluster(
        _ provider: ExtensionProvider, _ world: MeshWorld, _ cluster: (ObjectKey, MeshService.Port) -> JSONValue
    ) -> JSONValue {
        var json: JSONValue = [
            "type": "STRICT_DNS", "connect_timeout": "10s",
            "load_assignment": [
                "cluster_name": .string(name(provider)),
                "endpoints": [
                    [
                        "lb_endpoints": [
                            ["endpoint": ["address": ProxyConfig.address(provider.host, provider.port)]]
                        ]
                    ]
                ],
            ],
        ]
        if let key = world.service(ofHost: provider.host),
            var port = world.services[key]?.ports.first(where: { $0.number == provider.port })
        {
            port.spoken = provider.form == .grpc ? .http2 : .http
            json = cluster(key, port)
        }
        json["name"] = .string(name(provider))
        if provider.form == .grpc {
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            json["typed_extension_protocol_options"] = .object([
                options: .typed(options, ["explicit_http_config": ["http2_protocol_options": [:]]])
            ])
        }
        return json
    }

    var clusters: [(name: String, json: JSONValue)] {
        let all = entries.values.map { (name: Self.name($0.provider), json: $0.cluster) }
        return Dictionary(all.map { ($0.name, $0.json) }) { first, _ in first }.sorted { $0.key < $1.key }
            .map { ($0.key, $0.value) }
    }

    /// Whether the one of this name can be asked.
    func knows(_ name: String) -> Bool { entries[name] != nil }

    /// The filter that asks; nil where nobody is known who could be.
    func filter(_ name: String, when condition: JSONValue) -> JSONValue? {
        guard let provider = entries[name]?.provider else { return nil }
        return [
            "name": .string("envoy.filters.http.ext_authz.\(name)"),
            "typed_config": .typed(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                provider.filter(Self.name(provider), when: condition)),
        ]
    }
}
