import Bytes
import JSON
import TLS

/// What a proxy says of its configuration, as tables: pure. Reads Envoy's `/config_dump`, `/clusters` and `/certs`, so a real Envoy is
/// understood as well.
struct ProxyTables: Sendable {
    let dump: JSONValue
    let clusters: JSONValue
    let certificates: JSONValue

    /// The messages of one part.
    func document(_ part: ProxyConfigCommand.Part) -> JSONValue {
        switch part {
        case .listeners: .array(listeners)
        case .routes: .array(routeTables)
        case .clusters: .array(clusterResources)
        case .endpoints: clusters
        case .secrets: .array(secrets.map(\.resource))
        case .all: dump
        }
    }

    func table(_ part: ProxyConfigCommand.Part, containing text: String, isWide: Bool) -> [String] {
        switch part {
        case .listeners: listenerTable(text)
        case .routes: routeTable(text, isWide: isWide)
        case .clusters: clusterTable(text)
        case .endpoints: endpointTable(text, isWide: isWide)
        case .secrets: secretTable(text)
        case .all: []
        }
    }

    // MARK: What is in the dump

    private func elements(_ fields: String..., inner: [String]) -> [JSONValue] {
        dump.list("configs").flatMap { config in
            fields.flatMap { field in config.list(field).compactMap { $0.at(inner) } }
        }
    }

    var listeners: [JSONValue] {
        elements("static_listeners", inner: ["listener"])
            + elements("dynamic_listeners", inner: ["active_state", "listener"])
    }

    /// The proxy learns of a Service when it is first called.
    var asksForListeners: Bool {
        let choice = dump.list("configs").compactMap {
            $0["bootstrap"]?.text("node", "metadata", "LISTENERS_ON_DEMAND")
        }
        guard !choice.contains("false") else { return false }
        return listeners.contains { $0["metadata"]?["filter_metadata"]?["weft.lds.on_demand"] != nil }
    }

    var routeTables: [JSONValue] {
        elements("static_route_configs", "dynamic_route_configs", inner: ["route_config"])
    }

    var clusterResources: [JSONValue] {
        elements("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters", inner: ["cluster"])
    }

    /// By name; the resource is null for one that did not come yet.
    var secrets: [(name: String, resource: JSONValue, state: String)] {
        dump.list("configs").flatMap { config in
            ["static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"].flatMap { field in
                config.list(field).map { element in
                    let isThere = element["secret"]?["name"] != nil
                    return (
                        element.text("name"), element["secret"] ?? .null,
                        !isThere ? "WAITED FOR" : field == "dynamic_warming_secrets" ? "WARMING" : "ACTIVE"
                    )
                }
            }
        }
    }

    // MARK: Tables

    private func listenerTable(_ wanted: String) -> [String] {
        var table = TextTable("NAME", "ADDRESS", "PORT", "CHAINS", "LEADS TO")
        for listener in listeners where wanted.isEmpty || listener.text("name").contains(wanted) {
            let address = listener["address"]?["socket_address"]
            let chains = listener.list("filter_chains") + [listener["default_filter_chain"]].compactMap { $0 }
            var places: [String] = []
            for place in chains.flatMap(Self.destinations) where !places.contains(place) { places.append(place) }
            let shown = places.prefix(4).joined(separator: ", ") + (places.count > 4 ? ", …" : "")
            table.add(
                listener.text("name"), address?.text("address") ?? "",
                address?["port_value"]?.int.map(String.init) ?? "", "\(chains.count)", shown)
        }
        return table.lines
    }

    /// Of a filter chain: the route tables or clusters at its end.
    private static func destinations(_ chain: JSONValue) -> [String] {
        chain.list("filters").compactMap { filter in
            let config = filter["typed_config"] ?? .null
            let table = config.text("rds", "route_config_name")
            if !table.isEmpty { return "route \(table)" }
            if config["route_config"] != nil { return "route \(config.text("route_config", "name"))" }
            let cluster = config.text("cluster")
            return cluster.isEmpty ? nil : cluster
        }
    }

    private func routeTable(_ wanted: String, isWide: Bool) -> [String] {
        var table =
            isWide
            ? TextTable("TABLE", "VIRTUAL HOST", "DOMAINS", "ROUTE", "MATCH", "LEADS TO", "TIMEOUT", "RETRIES")
            : TextTable("TABLE", "VIRTUAL HOST", "MATCH", "LEADS TO")
        for routes in routeTables where wanted.isEmpty || routes.text("name").contains(wanted) {
            for host in routes.list("virtual_hosts") {
                for route in host.list("routes") {
                    let (match, action) = (RouteWords.match(route["match"] ?? .null), RouteWords.action(route))
                    guard isWide else {
                        table.add(routes.text("name"), host.text("name"), match, action)
                        continue
                    }
                    let domains = host.list("domains").compactMap(\.string)
                    table.add(
                        routes.text("name"), host.text("name"),
                        domains.prefix(3).joined(separator: ", ") + (domains.count > 3 ? ", …" : ""),
                        route.text("name"), match, action, route.text("route", "timeout"),
                        route["route"]?["retry_policy"].map { "\($0["num_retries"]?.int ?? 1)" } ?? "")
                }
            }
        }
        return table.lines
    }

    private func clusterTable(_ wanted: String) -> [String] {
        var table = TextTable("SERVICE", "PORT", "SUBSET", "DIRECTION", "TYPE", "TLS", "NAME")
        for cluster in clusterResources where wanted.isEmpty || cluster.text("name").contains(wanted) {
            let parsed = ClusterName(cluster.text("name"))
            let isMutual =
                cluster.list("transport_socket_matches").contains { $0.text("match", "tlsMode") != "" }
                || cluster["transport_socket"] != nil
            table.add(
                parsed?.host ?? cluster.text("name"), parsed.map { "\($0.port)" } ?? "", parsed?.subset ?? "",
                parsed?.direction ?? "", cluster.text("type").isEmpty ? "STATIC" : cluster.text("type"),
                isMutual ? "mutual" : "", cluster.text("name"))
        }
        return table.lines
    }

    private func endpointTable(_ wanted: String, isWide: Bool) -> [String] {
        var table =
            isWide
            ? TextTable("ENDPOINT", "HEALTH", "WEIGHT", "REQUESTS", "ERRORS", "ACTIVE", "ZONE", "CLUSTER")
            : TextTable("ENDPOINT", "HEALTH", "REQUESTS", "ERRORS", "CLUSTER")
        for cluster in clusters.list("cluster_statuses") where wanted.isEmpty || cluster.text("name").contains(wanted) {
            for host in cluster.list("host_statuses").map(ProxyHost.init) {
                let health = host.isWell ? Style.good(host.health) : Style.bad(host.health)
                if isWide {
                    table.add(
                        host.address, health, "\(host.weight)", "\(host.count("rq_total"))",
                        "\(host.count("rq_error"))", "\(host.count("rq_active"))", host.zone, cluster.text("name"))
                } else {
                    table.add(
                        host.address, health, "\(host.count("rq_total"))", "\(host.count("rq_error"))",
                        cluster.text("name"))
                }
            }
        }
        return table.lines
    }

    private func secretTable(_ wanted: String) -> [String] {
        var table = TextTable("NAME", "TYPE", "STATE", "IDENTITY OR SUBJECT", "SERIAL", "NOT AFTER")
        for (name, secret, state) in secrets where wanted.isEmpty || name.contains(wanted) {
            let isCertificate = secret["tls_certificate"] != nil
            let all = Self.certificates(in: secret)
            let shown = isCertificate ? Array(all.prefix(1)) : all
            if shown.isEmpty { table.add(name, isCertificate ? "certificate" : "trust", state, "", "", "") }
            for certificate in shown {
                table.add(
                    name, isCertificate ? "certificate" : "trust", state,
                    certificate.alternativeNames.uris.first ?? certificate.subject.commonName, certificate.serial,
                    certificate.notAfter.rfc3339)
            }
        }
        return table.lines
    }

    /// Of a secret: its chain, leaf first, or whom it trusts.
    static func certificates(in secret: JSONValue) -> [Certificate] {
        let source = secret["tls_certificate"]?["certificate_chain"] ?? secret["validation_context"]?["trusted_ca"]
        let text =
            source?["inline_string"]?.string
            ?? source?["inline_bytes"]?.string.flatMap { Base64.decode($0) }.map { String(decoding: $0, as: UTF8.self) }
        return text.flatMap { try? Certificate.chain(pem: $0) } ?? []
    }

    /// The certificate that the proxy shows as its identity: secret `default`.
    var identity: Certificate? {
        secrets.first { $0.name == "default" }.flatMap { Self.certificates(in: $0.resource).first }
    }
}

/// `outbound|80|v2|cart.shop.svc.cluster.local`, as Istio and Weft name clusters.
struct ClusterName: Hashable {
    var direction: String
    var port: Int
    var subset: String
    var host: String

    init?(_ name: String) {
        let parts = name.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4, let port = Int(parts[1]) else { return nil }
        (direction, self.port, subset, host) = (String(parts[0]), port, String(parts[2]), String(parts[3]))
    }
}

/// One host of `/clusters?format=json`.
struct ProxyHost: Sendable {
    let json: JSONValue

    init(_ json: JSONValue) { self.json = json }

    /// `10.244.1.5:8080`.
    var address: String {
        let address = json["address"]?["socket_address"]
        let host = address?.text("address") ?? json.text("address", "pipe", "path")
        let port = address?["port_value"]?.int.map { ":\($0)" } ?? ""
        return host.contains(":") ? "[\(host)]\(port)" : host + port
    }
    var weight: Int64 { json["weight"]?.int ?? 1 }
    var zone: String { json.text("locality", "zone") }

    /// What stands against it, or HEALTHY.
    var health: String {
        let status = json["health_status"] ?? .null
        var words: [String] = []
        if status["failed_outlier_check"]?.bool == true { words.append("EJECTED") }
        if status["failed_active_health_check"]?.bool == true { words.append("FAILED CHECK") }
        if status["pending_active_hc"]?.bool == true { words.append("NOT CHECKED YET") }
        let told = status.text("eds_health_status")
        if !["", "HEALTHY", "UNKNOWN"].contains(told) { words.append(told) }
        return words.isEmpty ? "HEALTHY" : words.joined(separator: ", ")
    }
    var isWell: Bool { health == "HEALTHY" }

    func count(_ name: String) -> Int64 {
        let value = json.list("stats").first { $0.text("name") == name }?["value"]
        return value?.string.flatMap { Int64($0) } ?? value?.int ?? 0
    }
}

/// Routes of Envoy's in a few words.
enum RouteWords {
    static func match(_ match: JSONValue) -> String {
        var words: [String] = []
        if let prefix = match["prefix"]?.string { words.append(prefix == "/" ? "/*" : "\(prefix)*") }
        if let prefix = match["path_separated_prefix"]?.string { words.append("\(prefix)/*") }
        if let path = match["path"]?.string { words.append(path) }
        if let regex = match["safe_regex"]?["regex"]?.string { words.append("~\(regex)") }
        for header in match.list("headers") { words.append("\(header.text("name"))\(value(header))") }
        for parameter in match.list("query_parameters") {
            words.append("?\(parameter.text("name"))\(value(parameter))")
        }
        if match["grpc"] != nil { words.append("gRPC") }
        return words.joined(separator: " ")
    }

    private static func value(_ matcher: JSONValue) -> String {
        let text = matcher["string_match"] ?? .null
        if let exact = text["exact"]?.string { return "=\(exact)" }
        if let prefix = text["prefix"]?.string { return "=\(prefix)*" }
        if let regex = text["safe_regex"]?["regex"]?.string { return "~\(regex)" }
        return ""
    }

    static func action(_ route: JSONValue) -> String {
        if let direct = route["direct_response"] { return "answers \(direct["status"]?.int ?? 200)" }
        if let redirect = route["redirect"] {
            return "redirects to \(redirect.text("host_redirect"))\(redirect.text("path_redirect"))"
        }
        let action = route["route"] ?? .null
        let weighted = action.list("weighted_clusters", "clusters")
        guard !weighted.isEmpty else { return action.text("cluster") }
        return weighted.map { "\($0["weight"]?.int ?? 0) \($0.text("name"))" }.joined(separator: ", ")
    }
}
