import XDS

/// A filter of a chain whose configuration comes by its name (`config_discovery`, ECDS).
struct DiscoveredFilter: Sendable {
    let resource: NamedResource
    /// What may come, by the names of messages.
    let types: [String]
    /// In its place while nothing has come (`default_config`).
    let fallback: HTTPFilter?
    /// The listener waits for it.
    let isAwaited: Bool
    /// Its place in the chain.
    let slot: Int

    /// An `envoy.config.core.v3.ExtensionConfigSource`.
    init(_ node: ConfigNode, name: String, slot: Int, _ context: FilterContext) throws(ConfigError) {
        guard let source = node.message("config_source") else { throw node.error("config_source", "is missing") }
        let config = try ConfigSource(source, context.build)
        var types: [String] = []
        for url in node.strings("type_urls") {
            let type = url.lastIndex(of: "/").map { String(url[url.index(after: $0)...]) } ?? url
            guard ServerInfoPage.httpFilterTypes.contains(type) else {
                throw node.error("type_urls", "no factory found for a required type URL \(type)")
            }
            guard type != ConnectionManager.routerType else {
                throw node.error("type_urls", "the router cannot come by name")
            }
            types.append(type)
        }
        self.types = types
        self.slot = slot
        fallback = try node.typed("default_config").map { config throws(ConfigError) in
            try Self.filter(config, types, context)
        }
        isAwaited = !node.bool("apply_default_config_without_warming")
        guard isAwaited || fallback != nil else {
            throw node.error("filter config \(name) applied without warming but has no default config.")
        }
        resource = context.build.extensions.subscribe(
            NamedSubscriptions.Source(origin: config.origin, name: name), prefix: context.prefix,
            fetchTimeout: config.fetchTime)
    }

    private static func filter(
        _ config: ConfigNode, _ types: [String], _ context: FilterContext
    ) throws(ConfigError) -> HTTPFilter {
        guard types.contains(config.typeName) else {
            throw config.error(
                "filter config has type URL \(config.typeName) but expect \(types.joined(separator: ", ")).")
        }
        return try HTTPFilter(config, context)
    }

    /// What a `TypedExtensionConfig` makes of it.
    func filter(_ resource: Resource, _ context: FilterContext) throws(ConfigError) -> HTTPFilter {
        let node = try resource.node()
        _ = node.string("name")
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        let filter = try Self.filter(config, types, context)
        try node.finish()
        return filter
    }

    /// What it is while nothing has come.
    var substitute: HTTPFilter { fallback ?? .missing }
}

/// What of a chain comes by name, and where workers keep the chain as it is now.
struct DiscoveredFilters: Sendable {
    let place: FilterChainPlace
    /// Before the names of its filters' counters.
    let prefix: String
    let filters: [DiscoveredFilter]
}
