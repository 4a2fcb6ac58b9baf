// Format: texts with command operators (`%RESPONSE_CODE%`), compiled once and rendered into bytes for a stream: access logs,
// header values, bodies of the proxy's own answers. Knows streams, and nothing of where the bytes go.

/// One command operator of a format: a closed set.
enum Operator: Sendable {
    /// The first of two header fields that is there.
    case request(HeaderKey, HeaderKey?)
    case response(HeaderKey, HeaderKey?)
    /// As `request`, up to a `?` in the value.
    case requestWithoutQuery(HeaderKey, HeaderKey?)
    case trailer(HeaderKey, HeaderKey?)
    case startTime(TimeFormat)
    case emitTime(TimeFormat)
    /// Between two moments of a stream.
    case span(StreamMoment, StreamMoment, TimeUnit)
    case path(query: Bool, PathSource)
    case queryParameter([UInt8])
    case queryParameters
    case `protocol`, upstreamProtocol
    case responseCode, responseFlags, responseFlagsLong, responseCodeDetails, connectionTerminationDetails
    case bytesReceived, bytesSent
    case requestHeadersBytes, responseHeadersBytes, responseTrailersBytes
    case upstreamHost, upstreamHostName, upstreamHostNameWithoutPort, upstreamCluster, upstreamClusterRaw
    case upstreamLocalAddress, upstreamRemoteAddress
    case upstreamLocalAddressWithoutPort, upstreamRemoteAddressWithoutPort
    case upstreamLocalPort, upstreamRemotePort
    case upstreamAttempts, upstreamFailureReason, upstreamConnectionID
    case downstreamLocalAddress, downstreamRemoteAddress, downstreamDirectRemoteAddress
    case downstreamLocalAddressWithoutPort, downstreamRemoteAddressWithoutPort, downstreamDirectRemoteAddressWithoutPort
    case downstreamLocalPort, downstreamRemotePort, downstreamDirectRemotePort
    case downstreamFailureReason
    case serverName, routeName, virtualClusterName
    case grpcStatus(GRPCStatusForm)
    case metadata(namespace: String, path: [String])
    /// Of what configuration says of a route, a cluster or a host.
    case configuredMetadata(CustomTag.MetadataOwner, namespace: String, path: [String])
    case filterState(String)
    case connectionID, streamID, traceID, hostname, environment([UInt8]?), localReplyBody, accessLogType
    case tls(TLSFact)
    case upstreamTLS(TLSFact)

    enum PathSource: Sendable { case original, rewritten, originalOrRewritten }
    enum GRPCStatusForm: Sendable { case camel, snake, number }

    enum TLSFact: Sendable {
        case version, cipher, sessionID
        case peerSubject, peerIssuer, peerSerial, peerFingerprint, peerURIs, peerNames, peerAddresses, peerCertificate
        case localSubject, localURIs, localNames, localAddresses
        case peerValidFrom, peerValidUntil
    }
}

/// A moment in a stream's life, for durations (`COMMON_DURATION`).
enum StreamMoment: String, Sendable {
    case downstreamBegin = "DS_RX_BEG"
    case downstreamEnd = "DS_RX_END"
    case upstreamSendBegin = "US_TX_BEG"
    case upstreamSendEnd = "US_TX_END"
    case upstreamBegin = "US_RX_BEG"
    case upstreamEnd = "US_RX_END"
    case sendBegin = "DS_TX_BEG"
    case sendEnd = "DS_TX_END"
    /// The moment of rendering.
    case now = "NOW"
}

enum TimeUnit: String, Sendable {
    case milliseconds = "ms"
    case microseconds = "us"
    case nanoseconds = "ns"
}
