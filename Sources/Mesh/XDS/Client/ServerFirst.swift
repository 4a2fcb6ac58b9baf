/// What control planes call it that a listener calls a server before its client has said anything, since it may be the server's turn.
public enum ServerFirstName {
    /// The key of a listener's metadata; `patience` and `memory` are in seconds.
    public static let metadata = "weft.server_first"
}
