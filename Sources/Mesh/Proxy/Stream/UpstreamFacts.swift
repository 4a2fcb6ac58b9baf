import Bytes
import HTTP
import TLS

/// What a stream keeps of its attempt's connection, for logs and header values: the attempt may be gone by then.
struct UpstreamFacts {
    /// The host that was chosen.
    var remote: SocketAddress?
    /// What it is connected to; nil before it is.
    var peer: SocketAddress?
    var local: SocketAddress?
    var hostname = ""
    var version: HTTPVersion?
    var connectionID: UInt64 = 0
    /// The host's number in the mesh's statistics; 0 for one that is not known.
    var watchNumber: UInt32 = 0
    var tls: TLSSession?
    /// Why there was no connection, in words.
    var failure = ""
}

// What logs and formats ask of a stream.
extension HTTPStream {
    var origin: ConnectionOrigin? { connection?.origin }
    var version: HTTPVersion? { codecVersion }
    var connectionID: UInt64? { connection?.id }
    var tls: TLSSession? { connection?.tlsSession }
    var isOver: Bool { flags.contains(.isOver) }

    func moment(_ moment: StreamMoment) -> UInt64? {
        let found: UInt64 =
            switch moment {
            case .downstreamBegin: began
            case .downstreamEnd: requestEndedAt
            case .upstreamSendBegin: upstreamSendBeganAt
            case .upstreamSendEnd: upstreamSendEndedAt
            case .upstreamBegin: flags.contains(.isLocalReply) ? 0 : responseBeganAt
            case .upstreamEnd: flags.contains(.isLocalReply) ? 0 : responseEndedAt
            case .sendBegin: responseBeganAt
            case .sendEnd: responseEndedAt
            case .now: worker.now
            }
        return found > 0 ? found : nil
    }

    /// A moment of the monotonic clock as people date it.
    func wallClock(_ moment: UInt64) -> Timestamp {
        let now = Timestamp.now()
        let ago = Int64(clamping: worker.now &- moment)
        var seconds = now.seconds - ago / 1_000_000_000
        var nanoseconds = Int64(now.nanoseconds) - ago % 1_000_000_000
        if nanoseconds < 0 {
            seconds -= 1
            nanoseconds += 1_000_000_000
        }
        return Timestamp(seconds: seconds, nanoseconds: numericCast(nanoseconds))
    }
}
