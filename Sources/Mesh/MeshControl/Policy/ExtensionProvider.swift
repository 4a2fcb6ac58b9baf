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
