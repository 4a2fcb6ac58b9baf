/// What a stream's bytes mean: subclass it and set it as the socket's `handler`. One virtual call an event.
///
/// All calls come on the socket's loop, never two at a time for one socket. Any of them may write, pause, close, or replace
/// the handler. `@unchecked Sendable` for that reason; subclasses keep the rule for their own state.
open class StreamHandler: @unchecked Sendable {
    public init() {}

    /// The connection that `StreamSocket.connect` began stands.
    open func streamDidConnect(_ stream: StreamSocket) {}

    /// Bytes came in; `bytes` are valid within the call only. Answers how many were consumed; the rest is offered again,
    /// with what follows it, when more comes in or reading is resumed.
    open func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int { bytes.count }

    /// The peer sent FIN: no more bytes will come (unconsumed ones are dropped). Writing may go on.
    /// The default closes once the output is written.
    open func streamDidEnd(_ stream: StreamSocket) { stream.closeAfterWrite() }

    /// The output fell below the low-water mark after `write` answered false.
    open func streamDidDrain(_ stream: StreamSocket) {}

    /// Exactly once, last; nil for an orderly close (by either side, after FIN).
    open func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {}
}

/// The bounds of one stream.
public struct StreamOptions: Sendable {
    /// `write` answers false above this many queued bytes.
    public var highWaterMark = 256 << 10
    /// `streamDidDrain` comes at or below this many.
    public var lowWaterMark = 64 << 10
    /// Queued output beyond this closes the socket with `ENOBUFS`: for writers that ignore back-pressure.
    public var outputLimit = 64 << 20
    /// Unconsumed input beyond this closes the socket with `EMSGSIZE`.
    public var inputLimit = 1 << 20
    /// TCP_NODELAY.
    public var noDelay = true
    /// TCP keep-alive: idle time before the first probe, in seconds; 0 is off.
    public var keepAlive: CInt = 0

    public init() {}
}
