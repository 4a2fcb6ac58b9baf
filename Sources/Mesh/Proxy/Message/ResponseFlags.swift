/// What went on besides the status: Envoy's response flags, as access logs spell them (`%RESPONSE_FLAGS%`).
package struct ResponseFlags: OptionSet, Hashable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    private init(bit: UInt64) { rawValue = 1 << bit }

    package static let failedLocalHealthCheck = ResponseFlags(bit: 0)
    package static let noHealthyUpstream = ResponseFlags(bit: 1)
    package static let upstreamRequestTimeout = ResponseFlags(bit: 2)
    package static let localReset = ResponseFlags(bit: 3)
    package static let upstreamRemoteReset = ResponseFlags(bit: 4)
    package static let upstreamConnectionFailure = ResponseFlags(bit: 5)
    package static let upstreamConnectionTermination = ResponseFlags(bit: 6)
    package static let upstreamOverflow = ResponseFlags(bit: 7)
    package static let noRouteFound = ResponseFlags(bit: 8)
    package static let delayInjected = ResponseFlags(bit: 9)
    package static let faultInjected = ResponseFlags(bit: 10)
    package static let rateLimited = ResponseFlags(bit: 11)
    package static let unauthorizedExternalService = ResponseFlags(bit: 12)
    package static let rateLimitServiceError = ResponseFlags(bit: 13)
    package static let downstreamConnectionTermination = ResponseFlags(bit: 14)
    package static let upstreamRetryLimitExceeded = ResponseFlags(bit: 15)
    package static let streamIdleTimeout = ResponseFlags(bit: 16)
    package static let invalidEnvoyRequestHeaders = ResponseFlags(bit: 17)
    package static let downstreamProtocolError = ResponseFlags(bit: 18)
    package static let upstreamMaxStreamDurationReached = ResponseFlags(bit: 19)
    package static let responseFromCacheFilter = ResponseFlags(bit: 20)
    package static let noFilterConfigFound = ResponseFlags(bit: 21)
    package static let durationTimeout = ResponseFlags(bit: 22)
    package static let upstreamProtocolError = ResponseFlags(bit: 23)
    package static let noClusterFound = ResponseFlags(bit: 24)
    package static let overloadManager = ResponseFlags(bit: 25)
    package static let dnsResolutionFailed = ResponseFlags(bit: 26)
    package static let dropOverload = ResponseFlags(bit: 27)
    package static let downstreamRemoteReset = ResponseFlags(bit: 28)
    package static let unconditionalDropOverload = ResponseFlags(bit: 29)

    /// Short and long names, by bit.
    package static let names: [(short: StaticString, long: StaticString)] = [
        ("LH", "FailedLocalHealthCheck"), ("UH", "NoHealthyUpstream"), ("UT", "UpstreamRequestTimeout"),
        ("LR", "LocalReset"), ("UR", "UpstreamRemoteReset"), ("UF", "UpstreamConnectionFailure"),
        ("UC", "UpstreamConnectionTermination"), ("UO", "UpstreamOverflow"), ("NR", "NoRouteFound"),
        ("DI", "DelayInjected"), ("FI", "FaultInjected"), ("RL", "RateLimited"),
        ("UAEX", "UnauthorizedExternalService"), ("RLSE", "RateLimitServiceError"),
        ("DC", "DownstreamConnectionTermination"), ("URX", "UpstreamRetryLimitExceeded"),
        ("SI", "StreamIdleTimeout"), ("IH", "InvalidEnvoyRequestHeaders"), ("DPE", "DownstreamProtocolError"),
        ("UMSDR", "UpstreamMaxStreamDurationReached"), ("RFCF", "ResponseFromCacheFilter"),
        ("NFCF", "NoFilterConfigFound"), ("DT", "DurationTimeout"), ("UPE", "UpstreamProtocolError"),
        ("NC", "NoClusterFound"), ("OM", "OverloadManagerTerminated"), ("DF", "DnsResolutionFailed"),
        ("DO", "DropOverload"), ("DR", "DownstreamRemoteReset"), ("UDO", "UnconditionalDropOverload"),
    ]
}
