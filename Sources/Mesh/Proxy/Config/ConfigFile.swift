import XDS

/// A file that configuration is subscribed to.
struct ConfigFile: Hashable, Sendable {
    var path: String
    /// Whose changes tell that the file is another.
    var directory: String
    /// Anything that moves in the directory may mean it, as with `watched_directory`.
    private var isAnyName: Bool

    /// A `core.v3.ConfigSource`. What is no file is refused by name.
    init(_ node: ConfigNode) throws(ConfigError) {
        node.ignore("resource_api_version", "initial_fetch_timeout")
        var watched: String?
        let path: String
        switch node.choice("config_source_specifier") {
        case "path": path = node.string("path")
        case "path_config_source":
            guard let source = node.message("path_config_source") else { throw node.error("path is missing") }
            path = source.string("path")
            watched = source.message("watched_directory")?.string("path")
        case let other: throw node.error("\(other ?? "config source") is not supported; use path_config_source")
        }
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        self.path = path
        directory = watched ?? (parent.isEmpty ? "/" : parent)
        isAnyName = watched != nil
    }

    /// Whether a name that came into the directory is it.
    func isMeant(_ name: String) -> Bool {
        isAnyName || path.split(separator: "/").last.map(String.init) == name
    }
}
