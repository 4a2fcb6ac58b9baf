/// A bootstrap for those who want to see it again: bytes, without the clusters, which a `ResourceSet` has as well. Thousands of
/// them would otherwise be held twice.
public struct BootstrapAtRest: Sendable {
    private let bytes: [UInt8]
    /// In their order.
    private let clusters: [String]

    public init(_ bootstrap: Message) {
        var rest = bootstrap
        var names: [String] = []
        if let position = Self.staticResources, case .message(var fixed)? = rest.take(position) {
            if let list = fixed.type.position(named: "clusters"), case .list(let elements)? = fixed.take(list) {
                names = elements.compactMap { element in
                    guard case .message(let cluster) = element, case .string(var name)? = cluster.value("name") else {
                        return nil
                    }
                    // A copy: the name is the message's own.
                    return name.withUTF8 { String(decoding: $0, as: UTF8.self) }
                }
            }
            rest[position] = .message(fixed)
        }
        bytes = rest.binary()
        clusters = names
    }

    /// - Parameter resources: What its static resources came to.
    public func message(_ resources: ResourceSet) throws(ConfigError) -> Message {
        var message = try Message(binary: bytes, type: Self.type)
        guard !clusters.isEmpty, let position = Self.staticResources,
            case .message(var fixed)? = message.take(position),
            let list = fixed.type.position(named: "clusters")
        else { return message }
        var elements: [FieldValue] = []
        for name in clusters {
            if let resource = resources[.cluster, name] { elements.append(.message(try resource.message())) }
        }
        fixed[list] = .list(elements)
        message[position] = .message(fixed)
        return message
    }

    private static var type: MessageType {
        guard let type = ProtoSchema.envoy.message(Bootstrap.typeName) else {
            preconditionFailure("the schema has no bootstrap")
        }
        return type
    }

    private static var staticResources: Int? { type.position(named: "static_resources") }
}
