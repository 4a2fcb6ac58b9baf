import Protobuf

/// A response as it came, of either form: every resource by itself, those that cannot be read beside the others.
struct DiscoveryResponse {
    let typeURL: String
    let nonce: String
    /// Of a state of the world the version of the kind; of a delta for people only.
    let version: String
    /// Who sent it (`control_plane.identifier`).
    let server: String
    private(set) var resources: [Resource] = []
    private(set) var refused: [ResourceRefusal] = []
    /// How long resources are good for, also those that were not sent again (heartbeats).
    private(set) var lifetimes: [String: Duration] = [:]
    /// Delta: what is no more, or never was.
    private(set) var removed: [String] = []

    /// - Parameter held: What is held under a name: what came again as it was is not read again.
    /// - Throws: When the whole of it cannot be read.
    init(_ form: DiscoveryForm, _ bytes: [UInt8], held: (ResourceKind, String) -> Resource?) throws(ConfigError) {
        let isDelta = form == .delta
        let message = try Message(
            binary: bytes,
            type: Message.type("envoy.service.discovery.v3.\(isDelta ? "DeltaDiscoveryResponse" : "DiscoveryResponse")")
        )
        typeURL = message.text("type_url")
        nonce = message.text("nonce")
        version = message.text(isDelta ? "system_version_info" : "version_info")
        server = message.submessage("control_plane")?.text("identifier") ?? ""
        guard let kind = ResourceKind(typeURL: typeURL) else { return }
        let text = ConfigText(name: kind.service)
        var names: Set<String> = []
        for (index, element) in message.list("resources").enumerated() {
            let path = ConfigPath([.field("resources"), .element(index)])
            var part = Part(kind: kind, version: version, text: text, path: path)
            do throws(ConfigError) {
                try part.open(element)
                let name = part.name
                guard let packed = part.packed else {
                    lifetimes[name] = part.lifetime
                    continue
                }
                let resource: Resource
                if let known = held(kind, name), case .bytes(let bytes) = packed.contents, known.bytes == bytes,
                    PackedMessage.typeName(ofURL: packed.typeURL) == kind.rawValue
                {
                    resource = known.versioned(part.version)
                } else {
                    resource = try Resource(kind, packed, version: part.version, from: text, at: path)
                }
                try part.check(resource)
                guard names.insert(resource.name).inserted else {
                    throw ConfigError(path, "duplicate \(kind.noun) \(resource.name) found")
                }
                lifetimes[resource.name] = part.lifetime
                resources.append(resource)
            } catch { refused.append(ResourceRefusal(part.name, text.locating(error).description)) }
        }
        removed = message.texts("removed_resources")
        for element in message.list("removed_resource_names") {
            if case .message(let name) = element { removed.append(name.text("name")) }
        }
        // What is sent is not gone.
        removed.removeAll { names.contains($0) }
    }

    /// One element of the response's list.
    private struct Part {
        let kind: ResourceKind
        var version: String
        let text: ConfigText
        let path: ConfigPath
        var name = ""
        var packed: PackedMessage?
        var lifetime: Duration?
        private var aliases: [String]?

        init(kind: ResourceKind, version: String, text: ConfigText, path: ConfigPath) {
            (self.kind, self.version, self.text, self.path) = (kind, version, text, path)
        }

        /// A resource by itself, or in a `Resource` that says more of it.
        mutating func open(_ element: FieldValue) throws(ConfigError) {
            switch element {
            case .any(let packed):
                guard PackedMessage.typeName(ofURL: packed.typeURL) == "envoy.service.discovery.v3.Resource" else {
                    self.packed = packed
                    name = Part.name(in: packed)
                    return
                }
                try open(wrapper: try packed.message(schema: .envoy, path: path))
            case .message(let wrapper): try open(wrapper: wrapper)
            default: throw ConfigError(path, "is no resource")
            }
        }

        private mutating func open(wrapper: Message) throws(ConfigError) {
            name = wrapper.text("name")
            if name.isEmpty { name = wrapper.submessage("resource_name")?.text("name") ?? "" }
            if case .string(let own)? = wrapper.value("version") { version = own }
            if case .duration(let time)? = wrapper.value("ttl") { lifetime = time }
            if case .any(let inner)? = wrapper.value("resource") { packed = inner }
            guard !name.isEmpty else {
                guard let packed else { throw ConfigError(path, "has neither a name nor a resource") }
                name = Part.name(in: packed)
                return
            }
            aliases = wrapper.texts("aliases")
            if packed == nil, lifetime == nil { throw ConfigError(path, "has no resource") }
        }

        /// The name that a response gives a resource must be the one by which it is asked for and removed.
        func check(_ resource: Resource) throws(ConfigError) {
            guard let aliases, resource.name != name, !aliases.contains(resource.name) else { return }
            throw ConfigError(path, "the resource \"\(name)\" calls itself \"\(resource.name)\"")
        }

        /// What a resource calls itself, without reading it: the first field of all kinds is the name.
        static func name(in packed: PackedMessage) -> String {
            guard case .bytes(let bytes) = packed.contents else { return "" }
            return bytes.withUnsafeBytes { buffer in
                var reader = ProtobufReader<Malformed>(buffer)
                while let field = try? reader.next() {
                    if field.number == 1, field.wire == .bytes { return String(decoding: field.bytes, as: UTF8.self) }
                }
                return ""
            }
        }

        private struct Malformed: ProtobufFailure {
            init(malformed what: String) {}
        }
    }
}

extension ResourceKind {
    /// What people call one of them.
    public var noun: String {
        switch self {
        case .listener: "listener"
        case .cluster: "cluster"
        case .routeConfiguration: "route configuration"
        case .scopedRouteConfiguration: "scoped route configuration"
        case .virtualHost: "virtual host"
        case .clusterLoadAssignment: "endpoints"
        case .secret: "secret"
        case .extensionConfig: "extension configuration"
        case .runtime: "runtime layer"
        }
    }
}
