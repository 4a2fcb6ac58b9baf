/// Why a configuration is refused, and where: something that the user can go to and mend.
public struct ConfigError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, or whatever the text came from; empty when that is not known yet.
    public var source: String
    /// Counted from 1.
    public var line: Int?
    public var path: ConfigPath
    public var reason: String
    /// A member that is no field: `line` is to be that of this name below `path`.
    var member: String?

    public init(_ path: ConfigPath, _ reason: String, source: String = "", line: Int? = nil) {
        self.path = path
        self.reason = reason
        self.source = source
        self.line = line
    }

    init(_ path: ConfigPath, _ reason: String, member: String) {
        self.init(path, reason)
        self.member = member
    }

    /// `bootstrap.yaml:41: static_resources.listeners[0]: unknown field "foo"`
    public var description: String {
        var place = source
        if let line { place += place.isEmpty ? "line \(line)" : ":\(line)" }
        let path = path.description
        return [place, path, reason].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}
