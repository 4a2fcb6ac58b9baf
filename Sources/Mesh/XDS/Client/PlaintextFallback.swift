/// What control planes call it that a cluster offers its hosts TLS and goes on in plain text where that is not taken.
public enum PlaintextFallbackName {
    /// The key of a cluster's metadata; `handshake_timeout` and `memory` are in seconds.
    public static let metadata = "weft.plaintext_fallback"
}
