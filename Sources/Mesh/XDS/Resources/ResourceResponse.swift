/// The resources of a `DiscoveryResponse`: a file of a `path_config_source`, or a control plane's answer.
///
/// A resource that cannot be read does not keep the others from being used, as with Envoy: it is among `rejected`, and
/// its source is told.
public struct ResourceResponse: Sendable {
    public let kind: ResourceKind
    public let version: String
    /// In order; names differ.
    public private(set) var resources: [Resource] = []
    public private(set) var rejected: [ConfigError] = []

    static let typeName = "envoy.service.discovery.v3.DiscoveryResponse"

    /// From the text of a file.
    /// - Throws: When the whole of it is none: no YAML or JSON, unknown fields, resources of another kind.
    public init(_ kind: ResourceKind, file text: ConfigText) throws(ConfigError) {
        let message: Message
        do throws(ConfigError) {
            message = try Message(json: try text.value(), type: Self.type)
        } catch { throw text.locating(error) }
        try self.init(kind, message, from: text)
    }

    /// From the message of a stream.
    /// - Parameter text: What the source is called in errors.
    public init(_ kind: ResourceKind, _ message: Message, from text: ConfigText) throws(ConfigError) {
        let node = try ConfigNode(message, from: text)
        let url = node.string("type_url")
        guard url.isEmpty || ResourceKind(typeURL: url) == kind else {
            throw node.error("type_url", "expected \(kind.typeURL), found \(url)")
        }
        self.kind = kind
        version = node.string("version_info")
        var names: Set<String> = []
        for (index, element) in node.elements("resources").enumerated() {
            guard case .any(let packed) = element else { continue }
            let path = ConfigPath([.field("resources"), .element(index)])
            do throws(ConfigError) {
                let resource = try Self.resource(kind, packed, version: version, from: text, at: path)
                guard names.insert(resource.name).inserted else {
                    throw text.locating(ConfigError(path, "\"\(resource.name)\" is there twice"))
                }
                resources.append(resource)
            } catch { rejected.append(error) }
        }
    }

    /// A resource by itself, or in a `Resource` that gives it a name and a version of its own.
    private static func resource(
        _ kind: ResourceKind, _ packed: PackedMessage, version: String, from text: ConfigText, at path: ConfigPath
    ) throws(ConfigError) -> Resource {
        guard PackedMessage.typeName(ofURL: packed.typeURL) == "envoy.service.discovery.v3.Resource" else {
            return try Resource(kind, packed, version: version, from: text, at: path)
        }
        let wrapper: Message
        do throws(ConfigError) {
            wrapper = try packed.message(schema: .envoy, path: path)
        } catch { throw text.locating(error) }
        guard case .any(let inner)? = wrapper.value("resource") else {
            throw text.locating(ConfigError(path, "has no resource"))
        }
        var own = version
        if case .string(let version)? = wrapper.value("version") { own = version }
        return try Resource(kind, inner, version: own, from: text, at: path.field("resource"))
    }

    private static var type: MessageType {
        guard let type = ProtoSchema.envoy.message(typeName) else {
            preconditionFailure("the schema has no \(typeName)")
        }
        return type
    }
}
