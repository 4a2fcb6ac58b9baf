/// The phases of a stream in which a filter may take part, in the order in which they come:
///
///     requestHead → requestData* → requestTrailers?      client to upstream, filters in the order of configuration
///     responseHead ← responseData* ← responseTrailers?   upstream to client, the other way round
///     ended                                              once, last, however the stream ended
///
/// Every phase runs on the stream's loop. A head's phase that cannot go on at once answers `.pause` and calls
/// `stream.resumeRequest()` or `stream.resumeResponse()` later, on the loop, or answers the client by `stream.reply`. While a
/// stream is paused its data still pass the filters that have seen the head and then wait, bounded by the buffer limit; the
/// peer is read no further beyond it.
package enum FilterStep: Sendable {
    case proceed
    /// Later phases wait until the filter resumes the stream.
    case pause
    /// The filter has answered the client (`stream.reply`) or reset the stream: nothing follows.
    case replied
}

/// Which phases a filter has; a stream calls no others.
package struct FilterPhases: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let requestHead = FilterPhases(rawValue: 1)
    package static let requestData = FilterPhases(rawValue: 2)
    package static let responseHead = FilterPhases(rawValue: 4)
    package static let responseData = FilterPhases(rawValue: 8)
    package static let requestTrailers = FilterPhases(rawValue: 16)
    package static let responseTrailers = FilterPhases(rawValue: 32)
    package static let ended = FilterPhases(rawValue: 64)
}

/// A piece of a body on its way through the filters, valid within the call. A filter may replace the bytes by others that
/// live as long as the call, hold them back by making them none, and take the end away to say it later by
/// `stream.sendRequest(_:after:)` or `stream.sendResponse(_:after:)`.
package struct BodyPiece {
    package var bytes: UnsafeRawBufferPointer
    /// Nothing follows, but perhaps trailers.
    package var end: Bool

    package init(_ bytes: UnsafeRawBufferPointer, end: Bool) {
        self.bytes = bytes
        self.end = end
    }

    package static var end: BodyPiece { BodyPiece(UnsafeRawBufferPointer(start: nil, count: 0), end: true) }
}

/// One filter of a chain: a closed set, dispatched by `switch`. The payload is the filter's configuration, immutable and
/// shared by all workers; what a filter must remember of a stream it keeps in `stream.filterState[slot]`.
package enum HTTPFilter: Sendable {
    case fault(FaultFilter)
    case rbac(RBACFilter)
    case cors(CORSFilter)
    case csrf(CSRFFilter)
    case buffer(BufferFilter)
    case headerMutation(HeaderMutationFilter)
    case localRateLimit(LocalRateLimitFilter)
    case healthCheck(HealthCheckFilter)
    case basicAuth(BasicAuthFilter)
    case setMetadata(SetMetadataFilter)
    case headerToMetadata(HeaderToMetadataFilter)
    case extAuthz(ExtAuthzFilter)
    case jwt(JWTFilter)
    case compressor(CompressorFilter)
    case decompressor(DecompressorFilter)
    case grpcStats(GRPCStatsFilter)
    case grpcWeb
    case statefulSession(StatefulSessionFilter)
    case rateLimit(RateLimitFilter)
    case onDemand(OnDemandFilter)
    case apiKeyAuth(APIKeyAuthFilter)
    case bandwidthLimit(BandwidthLimitFilter)
    case customResponse(CustomResponseFilter)
    case originalSource(OriginalSourceFilter)
    /// Its configuration comes by name, and has not come.
    case missing

    var phases: FilterPhases {
        switch self {
        case .extAuthz: [.requestHead, .requestData, .responseHead, .ended]
        case .jwt, .onDemand: [.requestHead, .ended]
        case .compressor:
            [.requestHead, .requestData, .requestTrailers, .responseHead, .responseData, .responseTrailers]
        case .decompressor: [.requestHead, .requestData, .responseHead, .responseData]
        case .grpcStats, .grpcWeb: [.requestHead, .requestData, .responseHead, .responseData, .responseTrailers]
        case .statefulSession: [.requestHead, .responseHead]
        case .rateLimit: [.requestHead, .responseHead, .ended]
        case .fault: [.requestHead, .responseData, .responseTrailers, .ended]
        case .rbac, .csrf, .basicAuth, .setMetadata, .apiKeyAuth, .originalSource, .missing: .requestHead
        case .customResponse: .responseHead
        case .bandwidthLimit:
            [.requestHead, .requestData, .requestTrailers, .responseHead, .responseData, .responseTrailers, .ended]
        case .cors, .localRateLimit: [.requestHead, .responseHead]
        case .headerToMetadata: [.requestHead, .responseHead]
        case .buffer: [.requestHead, .requestData, .requestTrailers]
        case .headerMutation: [.requestHead, .responseHead, .requestTrailers, .responseTrailers]
        case .healthCheck: [.requestHead, .requestData, .requestTrailers, .responseHead]
        }
    }

    /// `end`: the request has no body.
    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        switch self {
        case .fault(let filter): filter.requestHead(stream, slot)
        case .rbac(let filter): filter.requestHead(stream, slot)
        case .cors(let filter): filter.requestHead(stream, slot)
        case .csrf(let filter): filter.requestHead(stream, slot)
        case .buffer(let filter): filter.requestHead(stream, slot, end: end)
        case .headerMutation(let filter): filter.requestHead(stream, slot)
        case .localRateLimit(let filter): filter.requestHead(stream, slot)
        case .healthCheck(let filter): filter.requestHead(stream, slot, end: end)
        case .basicAuth(let filter): filter.requestHead(stream, slot)
        case .setMetadata(let filter): filter.requestHead(stream)
        case .headerToMetadata(let filter): filter.requestHead(stream, slot)
        case .extAuthz(let filter): filter.requestHead(stream, slot, end: end)
        case .jwt(let filter): filter.requestHead(stream, slot)
        case .compressor(let filter): filter.requestHead(stream, slot, end: end)
        case .decompressor(let filter): filter.requestHead(stream, slot, end: end)
        case .grpcStats(let filter): filter.requestHead(stream, slot)
        case .grpcWeb: GRPCWebFilter.requestHead(stream, slot)
        case .statefulSession(let filter): filter.requestHead(stream, slot)
        case .rateLimit(let filter): filter.requestHead(stream, slot)
        case .onDemand(let filter): filter.requestHead(stream, slot)
        case .apiKeyAuth(let filter): filter.requestHead(stream, slot)
        case .bandwidthLimit(let filter): filter.requestHead(stream, slot)
        case .customResponse: .proceed
        case .originalSource(let filter): filter.requestHead(stream)
        case .missing: Self.refuse(stream)
        }
    }

    private static func refuse(_ stream: HTTPStream) -> FilterStep {
        // Envoy says this in no words at all.
        stream.detailText = ""
        stream.reply(500, "", flag: .noFilterConfigFound, details: "")
        return .replied
    }

    /// False when the filter has answered the client.
    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        switch self {
        case .buffer(let filter): filter.requestData(stream, slot, &piece)
        case .healthCheck(let filter): filter.requestData(stream, slot, &piece)
        case .extAuthz(let filter): filter.requestData(stream, slot, &piece)
        case .compressor(let filter): filter.requestData(stream, slot, &piece)
        case .decompressor(let filter): filter.requestData(stream, slot, &piece)
        case .grpcStats(let filter): filter.requestData(stream, slot, piece)
        case .grpcWeb: GRPCWebFilter.requestData(stream, slot, &piece)
        case .bandwidthLimit(let filter): filter.requestData(stream, slot, &piece)
        default: true
        }
    }

    func requestTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) {
        switch self {
        case .buffer(let filter): filter.requestTrailers(stream, slot)
        case .healthCheck(let filter): filter.requestTrailers(stream, slot)
        case .headerMutation(let filter): filter.requestTrailers(stream, slot, trailers)
        case .compressor(let filter): filter.requestTrailers(stream, slot)
        case .bandwidthLimit(let filter): filter.requestTrailers(stream, slot)
        default: break
        }
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        switch self {
        case .cors(let filter): return filter.responseHead(stream, slot)
        case .headerMutation(let filter): return filter.responseHead(stream, slot)
        case .localRateLimit(let filter): return filter.responseHead(stream, slot)
        case .healthCheck(let filter): return filter.responseHead(stream, slot)
        case .headerToMetadata(let filter): return filter.responseHead(stream, slot)
        case .extAuthz(let filter): return filter.responseHead(stream, slot)
        case .compressor(let filter): return filter.responseHead(stream, slot, end: end)
        case .decompressor(let filter): return filter.responseHead(stream, slot, end: end)
        case .grpcStats(let filter): filter.responseHead(stream, slot, end: end)
        case .grpcWeb: return GRPCWebFilter.responseHead(stream, slot, end: end)
        case .statefulSession(let filter): filter.responseHead(stream, slot)
        case .rateLimit(let filter): filter.responseHead(stream, slot)
        case .bandwidthLimit(let filter): filter.responseHead(stream, slot)
        case .customResponse(let filter): return filter.responseHead(stream, slot)
        default: break
        }
        return .proceed
    }

    /// False when the filter has cut the stream.
    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        switch self {
        case .fault(let filter): filter.responseData(stream, slot, &piece)
        case .compressor(let filter): filter.responseData(stream, slot, &piece)
        case .decompressor(let filter): filter.responseData(stream, slot, &piece)
        case .grpcStats(let filter): filter.responseData(stream, slot, piece)
        case .grpcWeb: GRPCWebFilter.responseData(stream, slot, &piece)
        case .bandwidthLimit(let filter): filter.responseData(stream, slot, &piece)
        default: true
        }
    }

    /// False when the filter keeps the trailers; it sends them on by `stream.sendResponseTrailers(_:after:)`.
    func responseTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) -> Bool {
        switch self {
        case .fault(let filter): return filter.responseTrailers(stream, slot)
        case .headerMutation(let filter): filter.responseTrailers(stream, slot, trailers)
        case .compressor(let filter): filter.responseTrailers(stream, slot)
        case .grpcStats(let filter): filter.responseTrailers(stream, slot, trailers)
        case .grpcWeb: return GRPCWebFilter.responseTrailers(stream, slot, trailers)
        case .bandwidthLimit(let filter): return filter.responseTrailers(stream, slot, trailers)
        default: break
        }
        return true
    }

    func ended(_ stream: HTTPStream, _ slot: Int) {
        switch self {
        case .fault(let filter): filter.ended(stream, slot)
        case .extAuthz(let filter): filter.ended(stream, slot)
        case .jwt(let filter): filter.ended(stream, slot)
        case .rateLimit(let filter): filter.ended(stream, slot)
        case .onDemand(let filter): filter.ended(stream, slot)
        case .bandwidthLimit(let filter): filter.ended(stream, slot)
        default: break
        }
    }
}
