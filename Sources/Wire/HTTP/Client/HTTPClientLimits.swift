/// The bounds of a client. Each says what happens where it is reached.
public struct HTTPClientLimits: Sendable {
    /// To connect, TLS included. Beyond: the request fails and may be retried.
    public var connectTimeout: Duration = .seconds(10)
    /// Connections to the server at once. Beyond: requests wait for one.
    public var connections = 256
    /// How long an unused connection is kept. Shorter than common servers', so that we close first.
    public var idleTimeout: Duration = .seconds(50)
    /// Bytes of a collected response. Beyond: the request fails.
    public var bodyBytes = 256 << 20
    /// Bytes of a streamed response that wait to be read before the server is held up.
    public var readHighWater = 1 << 20
    /// Bytes of status line and header block. Beyond: the request fails.
    public var headerBytes = 64 << 10
    public var headerCount = 128

    public init() {}

    public static let standard = HTTPClientLimits()

    /// What the codecs need of it.
    var codec: HTTPLimits {
        var limits = HTTPLimits()
        limits.headerBytes = headerBytes
        limits.headerCount = headerCount
        limits.streamWindow = readHighWater
        limits.connectionWindow = 16 << 20
        return limits
    }
}
