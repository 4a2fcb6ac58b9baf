import JSON

/// What the server serves, told to clients: `/api`, `/apis` and what is below them, in the legacy form and aggregated.
///
/// Immutable; made anew when the set of resources changes. Each document is encoded once, when it is made.
public struct Discovery: Sendable {
    /// The forms a client can ask for, as it names them in `Accept`.
    public enum Form: Hashable, Sendable, CaseIterable {
        case aggregatedV2, aggregatedV2Beta1, legacy

        /// The first form of those that `accept` lists which we have; anything else gets the legacy one.
        public init(accept: String) {
            for part in accept.split(separator: ",") {
                let words = part.split(separator: ";").map { $0.filter { $0 != " " } }
                guard words.first == "application/json" else { continue }
                let parameters = Set(words.dropFirst())
                if parameters.isSuperset(of: ["g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"]) {
                    if parameters.contains("v=v2") {
                        self = .aggregatedV2
                        return
                    }
                    if parameters.contains("v=v2beta1") {
                        self = .aggregatedV2Beta1
                        return
                    }
                } else {
                    break
                }
            }
            self = .legacy
        }

        var contentType: String {
            switch self {
            case .legacy: "application/json"
            case .aggregatedV2: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            case .aggregatedV2Beta1: "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }

    private var legacy: [String: EncodedDocument] = [:]
    private var aggregated: [Form: [String: EncodedDocument]] = [:]

    /// - Parameters:
    ///   - resources: everything that is served, in any order.
    ///   - serverAddress: `host:port` that clients outside are told to use.
    public init(_ resources: [ResourceDescription], serverAddress: String) {
        let groups = ServedGroup.all(of: resources)
        let address: JSONValue = [["clientCIDR": "0.0.0.0/0", "serverAddress": .string(serverAddress)]]
        let core = groups.first { $0.name.isEmpty }
        let named = groups.filter { !$0.name.isEmpty }

        func add(_ path: String, _ body: JSONValue) {
            legacy[path] = EncodedDocument(bytes: body.encoded(), contentType: Form.legacy.contentType)
        }
        add(
            "/api",
            [
                "kind": "APIVersions", "versions": .array((core?.versions ?? []).map { .string($0.name) }),
                "serverAddressByClientCIDRs": address,
            ])
        add("/apis", ["kind": "APIGroupList", "apiVersion": "v1", "groups": .array(named.map { .object($0.legacy) })])
        for group in groups {
            if !group.name.isEmpty {
                var body = group.legacy
                body["kind"] = "APIGroup"
                body["apiVersion"] = "v1"
                add("/apis/\(group.name)", .object(body))
            }
            for version in group.versions { add(version.path(in: group.name), version.legacy(group: group.name)) }
        }
        for form in [Form.aggregatedV2, .aggregatedV2Beta1] {
            let apiVersion = form == .aggregatedV2 ? "apidiscovery.k8s.io/v2" : "apidiscovery.k8s.io/v2beta1"
            func list(_ groups: [ServedGroup]) -> EncodedDocument {
                let body: JSONValue = [
                    "kind": "APIGroupDiscoveryList", "apiVersion": .string(apiVersion), "metadata": [:],
                    "items": .array(groups.map(\.aggregated)),
                ]
                return EncodedDocument(bytes: body.encoded(), contentType: form.contentType)
            }
            aggregated[form] = ["/api": list(core.map { [$0] } ?? []), "/apis": list(named)]
        }
    }

    /// The document at `path`, in the form that the client's `Accept` asks for.
    /// - Returns: nil when discovery has nothing there; only `/api` and `/apis` have an aggregated form.
    public func document(_ path: String, accept: String) -> EncodedDocument? {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        return aggregated[Form(accept: accept)]?[path] ?? legacy[path]
    }
}
