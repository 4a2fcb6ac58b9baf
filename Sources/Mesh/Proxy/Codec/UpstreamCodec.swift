import HTTP

/// The upstream's side of streams. An attempt is one stream of it; a codec that has let go of it ignores calls.
package class UpstreamCodec: ConnectionTerminal {
    /// A retired pool lives as long as its last connection.
    let pool: HostPool
    /// It is among those that the pool gives attempts to; the pool's own mark.
    var isReady = false

    init(_ connection: ProxyConnection, _ pool: HostPool) {
        self.pool = pool
        super.init(connection)
    }

    var version: HTTPVersion { .http11 }
    /// How many more attempts it takes now.
    var room: Int { 0 }

    func start(_ attempt: UpstreamAttempt, _ head: HeaderBlock, end: Bool) {}
    func sendData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {}
    func sendTrailers(_ attempt: UpstreamAttempt, _ trailers: HeaderBlock) {}
    /// The attempt is given up.
    func reset(_ attempt: UpstreamAttempt) {}
    func pauseResponse(_ attempt: UpstreamAttempt) {}
    func resumeResponse(_ attempt: UpstreamAttempt) {}
    /// Bytes of the response's body were passed on or dropped.
    func consumed(_ attempt: UpstreamAttempt, _ count: Int) {}
    func isWritable(_ attempt: UpstreamAttempt) -> Bool { connection.isWritable }
    /// Carries more than one attempt at once.
    var isMultiplexed: Bool { false }
    /// Whether the upstream has not left since the last attempt, as far as can be seen.
    var isUsable: Bool { !connection.isClosed }
    /// It carries nothing.
    var isIdle: Bool { false }
    /// Takes no new attempt and closes when it has none.
    func retire() {}
}
