/// Where a configuration came from: the name for messages, and the text when there is one.
///
/// Lines are looked for only when there is an error to report, so reading a configuration costs nothing for them.
public struct ConfigText: Sendable {
    /// A file's path, or what else the user knows it by: `--config-yaml`, `cds`.
    public let name: String
    let text: String?

    public init(name: String, text: String? = nil) {
        self.name = name
        self.text = text
    }

    /// The error with its place in this text.
    func locating(_ error: ConfigError) -> ConfigError {
        guard error.source.isEmpty else { return error }
        var error = error
        error.source = name
        return error
    }
}
