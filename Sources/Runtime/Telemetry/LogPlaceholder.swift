// Stands here only until the room has its own Log; whoever lands that deletes this file.
public struct Log: Sendable {
    public static let shared = Log()
    public func debug(_ m: String, _ f: [String: String] = [:]) {}
    public func info(_ m: String, _ f: [String: String] = [:]) {}
    public func warning(_ m: String, _ f: [String: String] = [:]) {}
    public func error(_ m: String, _ f: [String: String] = [:]) {}
}
