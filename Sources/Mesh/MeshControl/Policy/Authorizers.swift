import ClusterAPI
import JSON

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
