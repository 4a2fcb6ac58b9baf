import JSON

/// `sessionAffinity: ClientIP`: a client's connections to a service port go to one endpoint, until it has made none for
/// so long.
public struct SessionAffinity: Hashable, Sendable {
    /// Seconds, 1 to 86 400.
    public var timeout: UInt32

    /// What the API server fills in where a Service does not say.
    public static let defaultTimeout: UInt32 = 10_800
    public static let longestTimeout: UInt32 = 86_400

    public init(timeout: UInt32 = defaultTimeout) {
        self.timeout = min(max(timeout, 1), Self.longestTimeout)
    }

    /// From a Service's `spec`; nil for `None`.
    init?(_ spec: JSONValue) {
        guard spec["sessionAffinity"]?.string == "ClientIP" else { return nil }
        let seconds = spec["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int
        self.init(timeout: seconds.flatMap { UInt32(exactly: $0) } ?? Self.defaultTimeout)
    }
}
