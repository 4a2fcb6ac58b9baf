/// A message of a configuration that is to be read again later. It does not hold the text that it came from, so its errors have
/// a source and a path, and no line.
public struct ConfigExcerpt: Sendable {
    private let message: Message
    private let source: String
    private let path: ConfigPath

    fileprivate init(_ node: ConfigNode) {
        message = node.message
        source = node.text.name
        path = node.path
    }

    /// The message, of which nothing is read yet.
    public func node() throws(ConfigError) -> ConfigNode {
        try ConfigNode(message, from: ConfigText(name: source), at: path)
    }
}

extension ConfigNode {
    public var excerpt: ConfigExcerpt { ConfigExcerpt(self) }

    /// A message with another of the same type laid over it, as `Message.merge` does it; nil when absent.
    public func message(_ name: String, under other: Message) -> ConfigNode? {
        guard case .message(var merged)? = value(name) else { return nil }
        merged.merge(other)
        return child(merged, Place(.field(name, of: place)))
    }
}
