import Bytes

/// One resource as it came: from the bootstrap, from a file, or from a control plane.
public struct Resource: Sendable {
    public let kind: ResourceKind
    public let name: String
    /// What its source calls its version; empty for static ones.
    public let version: String
    public let message: Message
    /// Of its bytes: whether anything changed.
    let digest: Digest
    let text: ConfigText
    let path: ConfigPath

    /// Equal for equal bytes; different for different ones but for one in 2⁶⁴ of the same length.
    struct Digest: Hashable, Sendable {
        var hash: UInt64
        var count: Int

        init(_ bytes: [UInt8]) {
            hash = FNV1a.hash64(bytes)
            count = bytes.count
        }
    }

    /// A resource whose message was read already.
    public init(
        _ kind: ResourceKind, _ message: Message, version: String = "", from text: ConfigText, at path: ConfigPath
    )
        throws(ConfigError)
    {
        try self.init(kind, message, Digest(message.binary()), version: version, from: text, at: path)
    }

    /// A resource in an `Any`, of which the bytes are looked at without reading them once more.
    init(_ kind: ResourceKind, _ packed: PackedMessage, version: String, from text: ConfigText, at path: ConfigPath)
        throws(ConfigError)
    {
        guard PackedMessage.typeName(ofURL: packed.typeURL) == kind.rawValue else {
            throw text.locating(ConfigError(path, "expected a \(kind.rawValue), found \"\(packed.typeURL)\""))
        }
        let message: Message
        do throws(ConfigError) {
            message = try packed.message(schema: .envoy, path: path)
        } catch { throw text.locating(error) }
        try self.init(kind, message, Digest(packed.binary()), version: version, from: text, at: path)
    }

    private init(
        _ kind: ResourceKind, _ message: Message, _ digest: Digest, version: String, from text: ConfigText,
        at path: ConfigPath
    ) throws(ConfigError) {
        guard case .string(let name)? = message.value(kind.nameField) else {
            throw text.locating(ConfigError(path, "has no \(kind.nameField)"))
        }
        self.kind = kind
        self.name = name
        self.version = version
        self.message = message
        self.digest = digest
        self.text = text
        self.path = path
    }

    /// The resource for those who build from it. Its places are those of the text that it came from.
    /// - Throws: When it breaks a rule of the API.
    public func node() throws(ConfigError) -> ConfigNode { try ConfigNode(message, from: text, at: path) }
}
