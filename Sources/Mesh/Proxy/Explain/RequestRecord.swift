import Bytes
import HTTP

/// What is kept of a request that is over. Of a fixed size; used again for another request.
struct RequestRecord {
    var id = InlineText<40>()
    var method = InlineText<16>()
    var host = InlineText<56>()
    var path = InlineText<120>()
    var client: SocketAddress?
    var listener = ""
    var chain = ""
    /// A route is small and knows nothing of its table: keeping it keeps no old configuration.
    var route: RouteEntry?
    var cluster: ClusterID?
    var version: HTTPVersion?
    var status: UInt16 = 0
    var flags = ResponseFlags()
    var details: StaticString = ""
    /// What has a value of its own, in place of `details`.
    var detailText: String?
    var isLocalReply = false
    var clientIsGone = false
    var isInternal = false
    var requestBytes: UInt64 = 0
    var responseBytes: UInt64 = 0
    // Nanoseconds of the monotonic clock; 0 for what did not happen.
    var began: UInt64 = 0
    var requestEnded: UInt64 = 0
    var responseBegan: UInt64 = 0
    var ended: UInt64 = 0
    var attempts = AttemptTrail()

    mutating func take(_ stream: HTTPStream) {
        let request = stream.request
        id.set(request.value(.xRequestID))
        method.set(request.methodText)
        host.set(request.authority)
        path.set(request.value(HeaderKey.envoyOriginalPath) ?? request.path)
        let connection = stream.connection
        client = stream.remote
        listener = connection?.listener?.snapshot.name ?? ""
        chain = connection?.chainName ?? ""
        route = stream.route
        cluster = stream.cluster?.settings.id
        version = stream.version
        status = UInt16(clamping: stream.response.status)
        flags = stream.responseFlags
        details = stream.details
        detailText = stream.detailText
        isLocalReply = stream.flags.contains(.isLocalReply)
        clientIsGone = stream.flags.contains(.downstreamGone) && !stream.flags.contains(.responseEnded)
        isInternal = stream.isInternal
        requestBytes = stream.requestBytes
        responseBytes = stream.responseBytes
        began = stream.began
        requestEnded = stream.requestEndedAt
        responseBegan = stream.responseBeganAt
        ended = stream.worker.now
        attempts.take(&stream.trail)
    }
}
