/// The bounds of a connection. Each says what happens where it is reached.
public struct HTTPLimits: Hashable, Sendable {
    /// Bytes of request line (or status line) and header block together. Beyond: 431 and close; HTTP/2: the stream is refused.
    public var headerBytes = 64 << 10
    /// Header fields of one message. Beyond: 431 and close.
    public var headerCount = 128
    /// Bytes of a collected body. Beyond: 413 and close; HTTP/2: 413 and the stream is reset.
    public var bodyBytes = 3 << 20
    /// From a request's first byte to the end of its header block. Beyond: 408 and close.
    public var headerTimeout: Duration = .seconds(10)
    /// The longest silence within a request's body. Beyond: 408 and close.
    public var bodyTimeout: Duration = .seconds(30)
    /// A kept-alive connection without a request. Beyond: closed.
    public var idleTimeout: Duration = .seconds(180)
    /// How long a peer may take nothing of what waits to be sent to it. Beyond: reset.
    public var writeTimeout: Duration = .seconds(60)
    /// From accept to the end of the TLS handshake. Beyond: closed.
    public var handshakeTimeout: Duration = .seconds(10)
    /// Connections of one server, over all loops. Beyond: left in the kernel's backlog until one closes.
    public var connections = 16_384
    /// Bytes queued for one peer before `write` suspends.
    public var writeHighWater = 256 << 10
    /// Requests at once on one HTTP/2 connection. Beyond: the stream is refused.
    public var concurrentStreams = 250
    /// HTTP/2 window a stream may fill before it was read.
    public var streamWindow = 256 << 10
    /// HTTP/2 window a connection may fill before it was read.
    public var connectionWindow = 1 << 20
    /// Streams that a client resets, pings and settings it sends, in one second. Beyond: GOAWAY with ENHANCE_YOUR_CALM.
    public var controlFramesPerSecond = 200

    public init() {}

    public static let standard = HTTPLimits()
}
