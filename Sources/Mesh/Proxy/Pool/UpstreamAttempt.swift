import HTTP

/// One try of a stream at one host. Pooled with the worker; a codec tells it what the upstream says, and it tells the stream.
final class UpstreamAttempt {
    unowned(unsafe) private(set) var stream: HTTPStream
    /// nil while it waits for a connection, and after it is over.
    private(set) var codec: UpstreamCodec?
    /// Of its host.
    var pool: HostPool?
    /// It waits for a connection.
    var isWaiting = false
    /// It is among the cluster's requests under way.
    var isCounted = false
    /// What a codec knows it by (HTTP/2's stream).
    var handle: AnyObject?
    var hasSentHead = false
    var hasSentBody = false
    /// The final head of the response has come.
    var hasHead = false
    /// Its connection carried something before.
    var isReused = false
    /// Both directions are complete: the codec has let go.
    private(set) var isDone = false
    /// Its own time is over, which its host's record has, and it goes on beside another.
    var hasTimedOut = false
    var answersHead = false
    /// A CONNECT that ends here: it wants a connection of its own, without HTTP.
    private(set) var isTunnel = false
    /// The response waits with the upstream, as far as the codec can make it.
    var isPaused = false
    /// Bytes of the response for which the upstream was not given window again.
    var unconsumed = 0
    /// What ended it before its answer was whole; nil for nothing.
    var failure: StreamReset?
    /// Why its connection failed, in words; "" when nobody said.
    var failureText = ""

    init(_ stream: HTTPStream) { self.stream = stream }

    func begin(_ stream: HTTPStream) {
        self.stream = stream
        codec = nil
        pool = nil
        handle = nil
        (hasSentHead, hasSentBody, hasHead, isReused, isDone) = (false, false, false, false, false)
        (isWaiting, isCounted, hasTimedOut) = (false, false, false)
        answersHead = stream.request.method == .head
        isTunnel = stream.endsConnect
        isPaused = false
        unconsumed = 0
        failureText = ""
        failure = nil
    }

    /// Lets go of what it refers to, before it waits for the next stream.
    func forget() {
        codec = nil
        pool = nil
        handle = nil
    }

    // MARK: From the pool and the codec

    func connected(_ codec: UpstreamCodec, isReused: Bool) {
        self.codec = codec
        self.isReused = isReused
        stream.attemptIsReady(self)
    }

    func failed(_ reason: StreamReset) {
        codec = nil
        stream.attemptFailed(self, reason)
    }

    /// The codec has said and heard all: it lets go of the attempt before the last piece is passed on.
    func done() {
        codec = nil
        isDone = true
    }

    // MARK: From the stream

    /// The stream wants nothing of it any more.
    func giveUp() {
        if let codec {
            self.codec = nil
            codec.reset(self)
        } else if isWaiting {
            pool?.cancel(self)
        }
        pool?.ended(self)
    }
}
