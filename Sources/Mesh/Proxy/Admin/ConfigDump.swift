import Bytes
import JSON
import XDS

/// `/config_dump`: the configuration as it is in use, in Envoy's messages of `envoy.admin.v3`.
struct ConfigDump {
    /// Its parts, each a message with its `@type`.
    private(set) var parts: [JSONValue] = []

    /// A resource with what is told beside it.
    struct Entry {
        var name: String
        var resource: JSONValue
        var version: String
        var updated: String
        var isStatic: Bool
        var isWarming = false
        /// How it stands with the control plane that it comes from; nil for other sources.
        var status: ResourceStatus?
    }

    mutating func addBootstrap(_ bootstrap: JSONValue, updated: String) {
        parts.append([
            "@type": .string(Self.type("BootstrapConfigDump")), "bootstrap": Self.redacted(bootstrap),
            "last_updated": .string(updated),
        ])
    }

    /// - Parameter version: the last one that was accepted as a whole.
    mutating func addClusters(_ entries: [Entry], version: String = "") {
        var part: JSONObject = ["@type": .string(Self.type("ClustersConfigDump"))]
        if !version.isEmpty { part["version_info"] = .string(version) }
        for (field, isMeant) in [
            ("static_clusters", { $0.isStatic }), ("dynamic_active_clusters", { !$0.isStatic && !$0.isWarming }),
            ("dynamic_warming_clusters", { !$0.isStatic && $0.isWarming }),
        ] as [(String, (Entry) -> Bool)] {
            let elements = entries.filter(isMeant).map { Self.element($0, .cluster, "cluster") }
            if !elements.isEmpty { part[field] = .array(elements) }
        }
        parts.append(.object(part))
    }

    mutating func addListeners(_ entries: [Entry], version: String = "") {
        var part: JSONObject = ["@type": .string(Self.type("ListenersConfigDump"))]
        if !version.isEmpty { part["version_info"] = .string(version) }
        let fixed = entries.filter(\.isStatic).map { Self.element($0, .listener, "listener") }
        if !fixed.isEmpty { part["static_listeners"] = .array(fixed) }
        let dynamic = entries.filter { !$0.isStatic }.map { entry -> JSONValue in
            var listener: JSONObject = ["name": .string(entry.name)]
            if entry.resource.object?.isEmpty == false {
                var state = entry
                state.status = nil
                listener[entry.isWarming ? "warming_state" : "active_state"] = Self.element(
                    state, .listener, "listener")
            }
            Self.tell(entry.status, in: &listener)
            return .object(listener)
        }
        if !dynamic.isEmpty { part["dynamic_listeners"] = .array(dynamic) }
        parts.append(.object(part))
    }

    mutating func addRoutes(_ entries: [Entry]) {
        add(
            "RoutesConfigDump", "static_route_configs", "dynamic_route_configs", entries, kind: .routeConfiguration,
            field: "route_config")
    }

    mutating func addEndpoints(_ entries: [Entry]) {
        add(
            "EndpointsConfigDump", "static_endpoint_configs", "dynamic_endpoint_configs", entries,
            kind: .clusterLoadAssignment, field: "endpoint_config")
    }

    mutating func addSecrets(_ entries: [Entry]) {
        add("SecretsConfigDump", "static_secrets", "dynamic_active_secrets", entries, kind: .secret, field: "secret")
    }

    mutating func addExtensions(_ entries: [Entry]) {
        let elements = entries.map { Self.element($0, .extensionConfig, "ecds_filter") }
        parts.append(["@type": .string(Self.type("EcdsConfigDump")), "ecds_filters": .array(elements)])
    }

    private mutating func add(
        _ name: String, _ staticField: String, _ dynamicField: String, _ entries: [Entry], kind: ResourceKind,
        field: String
    ) {
        var part: JSONObject = ["@type": .string(Self.type(name))]
        let fixed = entries.filter(\.isStatic).map { Self.element($0, kind, field) }
        let dynamic = entries.filter { !$0.isStatic }.map { Self.element($0, kind, field) }
        if !fixed.isEmpty { part[staticField] = .array(fixed) }
        if !dynamic.isEmpty { part[dynamicField] = .array(dynamic) }
        parts.append(.object(part))
    }

    private static func element(_ entry: Entry, _ kind: ResourceKind, _ field: String) -> JSONValue {
        var element: JSONObject = [:]
        if kind == .secret { element["name"] = .string(entry.name) }
        if !entry.version.isEmpty { element["version_info"] = .string(entry.version) }
        if entry.resource.object?.isEmpty == false {
            var resource = redacted(entry.resource)
            resource["@type"] = .string(kind.typeURL)
            element[field] = resource
            element["last_updated"] = .string(entry.updated)
        } else if kind != .secret {
            // Nothing is there yet that would say its name.
            element[field] = [
                "@type": .string(kind.typeURL),
                kind == .clusterLoadAssignment ? "cluster_name" : "name": .string(entry.name),
            ]
        }
        tell(entry.status, in: &element)
        return .object(element)
    }

    /// `error_state` and `client_status`.
    private static func tell(_ status: ResourceStatus?, in element: inout JSONObject) {
        guard let status else { return }
        if let failure = status.failure {
            var state: JSONObject = [
                "last_update_attempt": .string(ProxyServer.text(failure.time)), "details": .string(failure.details),
            ]
            if !failure.version.isEmpty { state["version_info"] = .string(failure.version) }
            element["error_state"] = .object(state)
        }
        element["client_status"] = .string(status.client.rawValue)
    }

    private static func type(_ name: String) -> String { "type.googleapis.com/envoy.admin.v3.\(name)" }

    /// Private keys, passwords and secrets read `[redacted]`, as in Envoy.
    private static func redacted(_ value: JSONValue) -> JSONValue {
        let secret: Set<String> = ["private_key", "password", "pkcs12", "session_ticket_keys", "generic_secret"]
        switch value {
        case .object(let object):
            return .object(
                JSONObject(
                    object.map { member in
                        guard secret.contains(member.key) else { return (member.key, redacted(member.value)) }
                        return (member.key, hidden(member.value))
                    }))
        case .array(let elements): return .array(elements.map(redacted))
        default: return value
        }
    }

    private static func hidden(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let object): .object(JSONObject(object.map { ($0.key, hidden($0.value)) }))
        case .array(let elements): .array(elements.map(hidden))
        default: "[redacted]"
        }
    }

    // MARK: What was asked for

    enum Choice: Error { case refused(AdminAnswer) }

    /// Only elements whose name matches.
    mutating func keep(_ regex: Regex) {
        parts = parts.map { part in
            guard case .object(let object) = part else { return part }
            return .object(
                JSONObject(
                    object.map { member in
                        guard case .array(let elements) = member.value else { return (member.key, member.value) }
                        return (member.key, .array(elements.filter { Self.matches($0, regex) }))
                    }))
        }
    }

    private static func matches(_ element: JSONValue, _ regex: Regex) -> Bool {
        for path in [
            ["name"], ["cluster", "name"], ["listener", "name"], ["route_config", "name"],
            ["endpoint_config", "cluster_name"], ["ecds_filter", "name"],
        ] {
            var found: JSONValue? = element
            for key in path { found = found?[key] }
            guard var name = found?.string else { continue }
            return name.withUTF8 { regex.matches(UnsafeRawBufferPointer($0)) }
        }
        return false
    }

    /// The elements of one field, which any of the parts may have; nil when none does.
    func elements(_ field: String) -> [JSONValue]? {
        for part in parts {
            guard case .array(let elements)? = part[field] else { continue }
            return elements
        }
        return nil
    }

    /// The message that elements of a field are, within the part that has it.
    static func elementType(of field: String) -> String? {
        let name: String? =
            switch field {
            case "static_clusters": "ClustersConfigDump.StaticCluster"
            case "dynamic_active_clusters", "dynamic_warming_clusters": "ClustersConfigDump.DynamicCluster"
            case "static_listeners": "ListenersConfigDump.StaticListener"
            case "dynamic_listeners": "ListenersConfigDump.DynamicListener"
            case "static_route_configs": "RoutesConfigDump.StaticRouteConfig"
            case "dynamic_route_configs": "RoutesConfigDump.DynamicRouteConfig"
            case "static_endpoint_configs": "EndpointsConfigDump.StaticEndpointConfig"
            case "dynamic_endpoint_configs": "EndpointsConfigDump.DynamicEndpointConfig"
            case "static_secrets": "SecretsConfigDump.StaticSecret"
            case "dynamic_active_secrets": "SecretsConfigDump.DynamicSecret"
            case "ecds_filters": "EcdsConfigDump.EcdsFilterConfig"
            default: nil
            }
        return name.map(type)
    }

    func isSingle(_ field: String) -> Bool { parts.contains { $0[field]?.object != nil } }

    /// Keeps the fields that a mask names, dots leading inwards, and the types of messages.
    static func masked(_ value: JSONValue, _ paths: [[Substring]]) -> JSONValue {
        guard case .object(let object) = value else { return value }
        return .object(
            JSONObject(
                object.compactMap { member -> (String, JSONValue)? in
                    if member.key == "@type" { return (member.key, member.value) }
                    let inner = paths.filter { $0.first == member.key[...] }.map { Array($0.dropFirst()) }
                    guard !inner.isEmpty else { return nil }
                    if inner.contains(where: \.isEmpty) { return (member.key, member.value) }
                    return (member.key, masked(member.value, inner))
                }))
    }
}

extension AdminServer {
    func configDump(_ request: AdminRequest) async -> AdminAnswer {
        var dump = await server.configDump(withEndpoints: request.hasParameter("include_eds"))
        if let pattern = request["name_regex"] {
            do { dump.keep(try Regex(pattern)) } catch {
                return AdminAnswer("Error while parsing name_regex from \(pattern): \(error)\n", status: 400)
            }
        }
        let mask = request["mask"].map { $0.split(separator: ",").map { $0.split(separator: ".") } }
        var configs = dump.parts
        if let field = request["resource"] {
            guard let elements = dump.elements(field) else {
                var answer =
                    dump.isSingle(field)
                    ? AdminAnswer(
                        "\(field) is not a repeated field. Use ?mask=\(field) to get only this field", status: 400)
                    : AdminAnswer("\(field) not found in config dump", status: 404)
                answer.contentType = "text/plain"
                return answer
            }
            configs = elements.map { element in
                guard let type = ConfigDump.elementType(of: field), var object = element.object else { return element }
                object["@type"] = .string(type)
                return .object(object)
            }
        }
        if let mask {
            configs = configs.map { ConfigDump.masked($0, mask) }
            if request["resource"] == nil { configs.removeAll { ($0.object?.count ?? 0) <= 1 } }
        }
        return .json(JSONValue.object(["configs": .array(configs)]).adminText)
    }
}

extension ProxyServer {
    func configDump(withEndpoints: Bool) async -> ConfigDump {
        let facts = await discoveryFacts()
        let warming = await warmingClusters()
        var dump = ConfigDump()
        dump.addBootstrap(fullBootstrap, updated: Self.text(startTime))
        var clusters = entries(.cluster, facts)
        for index in clusters.indices { clusters[index].isWarming = warming.contains(clusters[index].name) }
        dump.addClusters(clusters, version: facts.version(of: .cluster))
        let listeners = entries(.listener, facts)
        if withEndpoints {
            let fixed = clusters.compactMap { cluster -> ConfigDump.Entry? in
                guard let assignment = cluster.resource["load_assignment"] else { return nil }
                var entry = cluster
                entry.resource = assignment
                return entry
            }
            dump.addEndpoints(fixed + entries(.clusterLoadAssignment, facts))
        }
        dump.addListeners(listeners, version: facts.version(of: .listener))
        var routes: [ConfigDump.Entry] = []
        for listener in listeners { Self.collectRoutes(listener.resource, listener, &routes) }
        routes += namedEntries(context.routes)
        dump.addRoutes(routes)
        let extensions = extensionEntries(facts)
        if !extensions.isEmpty { dump.addExtensions(extensions) }
        let secrets = entries(.secret, facts)
        if !secrets.isEmpty { dump.addSecrets(secrets) }
        return dump
    }

    private func namedEntries(_ subscriptions: NamedSubscriptions) -> [ConfigDump.Entry] {
        named(subscriptions).map { resource, updated in
            ConfigDump.Entry(
                name: resource.name, resource: (try? resource.message())?.json() ?? [:], version: resource.version,
                updated: Self.text(updated), isStatic: false)
        }
    }

    /// Filters that came by name, and those of which what came was refused.
    private func extensionEntries(_ facts: [DiscoveryFacts]) -> [ConfigDump.Entry] {
        let statuses = facts.statuses(.extensionConfig)
        var entries = namedEntries(context.extensions)
        for index in entries.indices {
            entries[index].status = statuses.first { $0.name == entries[index].name && $0.resource != nil }
        }
        for status in statuses where status.failure != nil && !entries.contains(where: { $0.name == status.name }) {
            var entry = ConfigDump.Entry(
                name: status.name, resource: [:], version: "", updated: Self.text(startTime), isStatic: false)
            entry.status = status
            entries.append(entry)
        }
        return entries
    }

    private func entries(_ kind: ResourceKind, _ facts: [DiscoveryFacts]) -> [ConfigDump.Entry] {
        let fixed = resources.all(kind)
        let names = Set(fixed.map(\.name))
        let statuses = facts.statuses(kind).filter { !names.contains($0.name) }
        let discovered = Set(statuses.map(\.name))
        let others = dynamic.all(kind).filter { !names.contains($0.name) && !discovered.contains($0.name) }
        let told = statuses.map { status -> ConfigDump.Entry in
            var entry = ConfigDump.Entry(
                name: status.name, resource: (try? status.resource?.message())?.json() ?? [:],
                version: status.resource?.version ?? "", updated: Self.text(status.updated ?? startTime),
                isStatic: false, isWarming: kind == .listener && warmingListeners[status.name] != nil)
            entry.status = status
            return entry
        }
        return told
            + (fixed + others).map { resource in
                let known = record[kind, resource.name]
                return ConfigDump.Entry(
                    name: resource.name, resource: (try? resource.message())?.json() ?? [:], version: resource.version,
                    updated: Self.text(known?.updated ?? startTime), isStatic: known?.isStatic ?? true,
                    isWarming: kind == .listener && warmingListeners[resource.name] != nil)
            }
    }

    /// The route configurations that stand within connection managers.
    private static func collectRoutes(_ value: JSONValue, _ owner: ConfigDump.Entry, _ found: inout [ConfigDump.Entry])
    {
        switch value {
        case .object(let object):
            for member in object {
                if member.key == "route_config", member.value["virtual_hosts"] != nil || member.value["name"] != nil {
                    var entry = owner
                    entry.name = member.value["name"]?.string ?? ""
                    entry.resource = member.value
                    entry.isStatic = true
                    entry.version = ""
                    found.append(entry)
                } else {
                    collectRoutes(member.value, owner, &found)
                }
            }
        case .array(let elements): for element in elements { collectRoutes(element, owner, &found) }
        default: break
        }
    }

    static func text(_ time: Timestamp) -> String {
        var out: [UInt8] = []
        time.appendRFC3339(to: &out, fraction: 3)
        return String(decoding: out, as: UTF8.self)
    }
}
