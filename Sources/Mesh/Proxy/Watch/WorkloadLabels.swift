import JSON

/// Who one end of a request is, as metrics name it. Text is made when a series is, never for a request.
struct WorkloadLabels: Hashable, Sendable {
    static let unknown = "unknown"

    var workload = unknown
    var namespace = unknown
    var principal = unknown
    var app = unknown
    var version = unknown

    init() {}

    /// A proxy's own, from its bootstrap's node: Istio's metadata where there is some, else its names.
    init(node: JSONValue) {
        let metadata = node["metadata"] ?? .null
        func known(_ texts: String?...) -> String { texts.compactMap { $0 }.first { !$0.isEmpty } ?? Self.unknown }
        let labels = metadata["LABELS"] ?? .null
        // `sidecar~POD.NAMESPACE`, and `APP.NAMESPACE`.
        let place = node["id"]?.string?.split(separator: "~").last.map(String.init) ?? ""
        let cluster = node["cluster"]?.string ?? ""
        func before(_ text: String) -> String? { text.lastIndex(of: ".").map { String(text[..<$0]) } }
        func behind(_ text: String) -> String? {
            text.lastIndex(of: ".").map { String(text[text.index(after: $0)...]) }
        }
        namespace = known(metadata["NAMESPACE"]?.string, behind(place), behind(cluster))
        app = known(
            labels["service.istio.io/canonical-name"]?.string, labels["app.kubernetes.io/name"]?.string,
            labels["app"]?.string, before(cluster))
        workload = known(metadata["WORKLOAD_NAME"]?.string, before(cluster), before(place))
        version = known(
            labels["service.istio.io/canonical-revision"]?.string, labels["app.kubernetes.io/version"]?.string,
            labels["version"]?.string)
        let account = metadata["SERVICE_ACCOUNT"]?.string ?? ""
        if !account.isEmpty {
            let domain = metadata["TRUST_DOMAIN"]?.string ?? metadata["MESH_ID"]?.string ?? "cluster.local"
            principal = "spiffe://\(domain)/ns/\(namespace)/sa/\(account)"
        }
    }

    /// From what a certificate says: `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`. The account's name stands for the workload, unless it is
    /// the one that a namespace gives to everybody.
    init(principal: String) {
        self.principal = principal
        let parts = principal.split(separator: "/")
        guard parts.count == 6, parts[0] == "spiffe:", parts[2] == "ns", parts[4] == "sa" else { return }
        namespace = String(parts[3])
        if parts[5] != "default" { (workload, app) = (String(parts[5]), String(parts[5])) }
    }

    /// From an endpoint's metadata, in Istio's form: `WORKLOAD;NAMESPACE;APP;VERSION;CLUSTER`.
    init(endpoint text: String) {
        let parts = text.split(separator: ";", omittingEmptySubsequences: false).map(String.init)
        func part(_ index: Int) -> String {
            index < parts.count && !parts[index].isEmpty ? parts[index] : Self.unknown
        }
        (workload, namespace, app, version) = (part(0), part(1), part(2), part(3))
    }

    /// Label names with a side in front: `source_workload`.
    func pairs(_ side: String) -> [(String, String)] {
        [
            ("\(side)_workload", workload), ("\(side)_workload_namespace", namespace), ("\(side)_principal", principal),
            ("\(side)_app", app), ("\(side)_version", version), ("\(side)_canonical_service", app),
            ("\(side)_canonical_revision", version == Self.unknown ? "latest" : version),
        ]
    }
}

/// The Service that a request is for.
struct ServiceLabels: Hashable, Sendable {
    var host = WorkloadLabels.unknown
    var name = WorkloadLabels.unknown
    var namespace = WorkloadLabels.unknown

    init() {}

    /// From a cluster: its metadata (`istio.services`), else its name, `outbound|80||cart.shop.svc.cluster.local`.
    init(cluster: ClusterSettings) {
        self.init(name: cluster.name, metadata: cluster.options.metadata["istio"])
    }

    init(name: String, metadata: JSONObject?) {
        if let service = metadata?["services"]?.array?.first {
            host = service["host"]?.string ?? host
            self.name = service["name"]?.string ?? self.name
            namespace = service["namespace"]?.string ?? namespace
            return
        }
        let parts = name.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4, !parts[3].isEmpty else { return }
        host = String(parts[3])
        let labels = parts[3].split(separator: ".")
        guard labels.count > 2, labels[2] == "svc" else { return }
        (self.name, namespace) = (String(labels[0]), String(labels[1]))
    }

    var pairs: [(String, String)] {
        [
            ("destination_service", host), ("destination_service_name", name),
            ("destination_service_namespace", namespace),
        ]
    }
}
