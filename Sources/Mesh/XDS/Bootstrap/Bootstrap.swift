/// The configuration that a proxy starts with.
public enum Bootstrap {
    public static let typeName = "envoy.config.bootstrap.v3.Bootstrap"

    /// Reads the bootstrap: a file, what `--config-yaml` lays over it, or either alone.
    ///
    /// - Parameters:
    ///   - texts: YAML or JSON, the later laid over the earlier as the wire format merges: lists are appended.
    ///   - ignoringUnknown: Passes over unknown fields (`--allow-unknown-static-fields`). Fields that are known and not
    ///     supported are still for the reader to refuse.
    /// - Throws: The place and the reason of the first thing that is wrong with a text, or with all of them together.
    public static func read(_ texts: [ConfigText], ignoringUnknown: Bool = false) throws(ConfigError) -> ConfigNode {
        guard let type = ProtoSchema.envoy.message(typeName) else { preconditionFailure("the schema has no bootstrap") }
        var bootstrap = Message(type)
        for text in texts {
            do throws(ConfigError) {
                bootstrap.merge(
                    try Message(json: try text.value(), type: type, ignoringUnknown: ignoringUnknown))
            } catch { throw text.locating(error) }
        }
        // Places are looked for in the first text. What another one appended is then named without a line.
        let name = texts.map(\.name).joined(separator: " with ")
        return try ConfigNode(bootstrap, from: ConfigText(name: name, text: texts.first?.text))
    }

    /// As `read` from bytes of the message itself: a `.pb` file.
    public static func read(binary bytes: [UInt8], name: String) throws(ConfigError) -> ConfigNode {
        guard let type = ProtoSchema.envoy.message(typeName) else { preconditionFailure("the schema has no bootstrap") }
        let text = ConfigText(name: name)
        do throws(ConfigError) {
            var unknown = 0
            let message = try Message(binary: bytes, type: type, countingUnknown: &unknown)
            guard unknown == 0 else { throw ConfigError(ConfigPath(), "\(unknown) unknown fields") }
            return try ConfigNode(message, from: text)
        } catch { throw text.locating(error) }
    }
}
