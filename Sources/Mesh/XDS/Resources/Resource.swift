/// One resource as it came: from the bootstrap, from a file, or from a control plane.
///
/// What it is, is its bytes: they are small, and equal bytes are the same resource. The message that they were read as comes
/// along until the resource is put at rest.
public struct Resource: Sendable {
    public let kind: ResourceKind
    /// It stood in a message whose rules were checked when it was read.
    private var isChecked = false
    /// In the list at `origin`; -1 for what is no element.
    private let index: Int32
    public let name: String
    /// What its source calls its version; empty for static ones.
    public private(set) var version: String
    /// Protobuf, as it came or as we write it.
    public let bytes: [UInt8]
    private let read: Message?
    private let text: ConfigText
    /// Its place, or that of the list whose element it is: many resources have one path in common.
    private let origin: ConfigPath
    private var path: ConfigPath { index < 0 ? origin : origin.appending(.element(Int(index))) }

    /// A resource whose message was read already.
    ///
    /// - Parameters:
    ///   - element: Its place in the list at `path`; nil when it is what is at `path`.
    ///   - isChecked: The API's rules were checked of it, as part of a larger message.
    public init(
        _ kind: ResourceKind, _ message: Message, version: String = "", from text: ConfigText, at path: ConfigPath,
        element: Int? = nil, isChecked: Bool = false
    )
        throws(ConfigError)
    {
        try self.init(kind, message, message.binary(), version: version, from: text, at: path, element: element)
        self.isChecked = isChecked
    }

    /// A resource in an `Any`.
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
        try self.init(kind, message, packed.binary(), version: version, from: text, at: path)
    }

    private init(
        _ kind: ResourceKind, _ message: Message, _ bytes: [UInt8], version: String, from text: ConfigText,
        at path: ConfigPath, element: Int? = nil
    ) throws(ConfigError) {
        guard case .string(let name)? = message.value(kind.nameField) else {
            let path = element.map { path.appending(.element($0)) } ?? path
            throw text.locating(ConfigError(path, "has no \(kind.nameField)"))
        }
        self.kind = kind
        self.name = name
        self.version = version
        self.bytes = bytes
        self.read = message
        self.text = text
        origin = path
        index = element.map { Int32($0) } ?? -1
    }

    private init(atRest resource: Resource) {
        kind = resource.kind
        // A copy: the name is the message's own, amid the message's memory, of which it would keep a page from being given back.
        var name = resource.name
        self.name = name.withUTF8 { String(decoding: $0, as: UTF8.self) }
        version = resource.version
        bytes = resource.bytes
        read = nil
        text = ConfigText(name: resource.text.name)
        origin = resource.origin
        index = resource.index
    }

    /// The same under another version: a source has sent it again.
    func versioned(_ version: String) -> Resource {
        var resource = self
        resource.version = version
        return resource
    }

    /// The same without what can be had again: a tenth of the memory, and no hold on its source's text, so its errors have
    /// no lines.
    public var atRest: Resource { read == nil ? self : Resource(atRest: self) }

    /// The message; read from the bytes when the resource is at rest.
    public func message() throws(ConfigError) -> Message {
        if let read { return read }
        do throws(ConfigError) {
            return try Message(binary: bytes, type: kind.type, at: path)
        } catch { throw text.locating(error) }
    }

    /// The resource for those who build from it. Its places are those of the text that it came from.
    /// - Throws: When it breaks a rule of the API.
    public func node() throws(ConfigError) -> ConfigNode {
        if isChecked, let read { return ConfigNode(checked: read, from: text, at: path) }
        return try ConfigNode(try message(), from: text, at: path)
    }
}
