import ClusterAPI
import JSON

// Where connections and requests go.
extension GatewayResources {
    /// A Service's cluster as this gateway has it: as all proxies do, but TLS where a BackendTLSPolicy says so.
    func cluster(_ json: JSONValue, _ service: ObjectKey, _ port: MeshService.Port) -> JSONValue {
        guard let policy = world.policy(for: service, port) else { return json }
        var names = policy.names.map { name -> JSONValue in
            name.text("type") == "URI"
                ? ["san_type": "URI", "matcher": ["exact": .string(name.text("uri"))]]
                : ["san_type": "DNS", "matcher": Self.matcher(name.text("hostname"))]
        }
        if names.isEmpty { names = [["san_type": "DNS", "matcher": Self.matcher(policy.hostname)]] }
        let trust = world.trust(policy)
        // There has to be a cluster of this name, or the one that everybody has, without TLS, would be seen.
        guard trust.isUsable else {
            return [
                "name": json["name"] ?? .null, "type": "STATIC",
                "load_assignment": ["cluster_name": json["name"] ?? .null],
            ]
        }
        let authorities: JSONValue =
            trust.pem.map { ["inline_string": .string($0)] } ?? ["filename": .string(ProxyConfig.systemAuthorities)]
        var common: JSONObject = [
            "tls_params": ["tls_minimum_protocol_version": "TLSv1_2"],
            "validation_context": ["trusted_ca": authorities, "match_typed_subject_alt_names": .array(names)],
        ]
        if world.spoken(service, port) == .http2 { common["alpn_protocols"] = ["h2"] }
        if let client = plan.clientCertificate {
            common["tls_certificate_sds_secret_configs"] = [Self.reference(client)]
        }
        var json = json
        json["transport_socket_matches"] = nil
        json["transport_socket"] = [
            "name": "envoy.transport_sockets.tls",
            "typed_config": .typed(
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                ["common_tls_context": .object(common), "sni": .string(policy.hostname)]),
        ]
        return json
    }

    private static func matcher(_ hostname: String) -> JSONValue {
        hostname.hasPrefix("*.") ? ["suffix": .string(String(hostname.dropFirst()))] : ["exact": .string(hostname)]
    }
}
