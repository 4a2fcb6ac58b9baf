import HTTP

/// Which streams an access log tells of (`envoy.config.accesslog.v3.AccessLogFilter`).
indirect enum AccessLogFilter: Sendable {
    enum Comparison: Sendable { case equal, atLeast, atMost, notEqual }

    case status(Comparison, Int)
    /// Milliseconds.
    case duration(Comparison, Int)
    case notHealthCheck
    case traceable
    /// Of a hundred by a million parts, by chance.
    case fraction(UInt32, of: UInt32)
    case all([AccessLogFilter])
    case any([AccessLogFilter])
    case header(HeaderMatcher)
    /// One of these; any at all when empty.
    case flags(ResponseFlags)
    case grpcStatus(Set<Int>, excludes: Bool)
    case logType(excludes: Bool, includesEnd: Bool)
    /// What filters left behind; nil: whether there is anything decides.
    case metadata(MetadataMatcher?, whenMissing: Bool)

    func passes(_ stream: HTTPStream) -> Bool {
        switch self {
        case .status(let comparison, let value): return comparison.holds(stream.response.status, value)
        case .duration(let comparison, let value):
            return comparison.holds(Int((stream.worker.now &- stream.began) / 1_000_000), value)
        case .notHealthCheck: return !stream.isHealthCheck
        case .traceable: return stream.routing.traceReason == .serviceForced
        case .fraction(let parts, let whole):
            return stream.worker.random.next(upperBound: UInt64(whole)) < UInt64(parts)
        case .all(let filters): return filters.allSatisfy { $0.passes(stream) }
        case .any(let filters): return filters.contains { $0.passes(stream) }
        case .header(let matcher): return matcher.matches(stream.request)
        case .flags(let wanted):
            return wanted.isEmpty ? !stream.responseFlags.isEmpty : !stream.responseFlags.isDisjoint(with: wanted)
        case .grpcStatus(let codes, let excludes):
            let text = stream.trailers?.value(.grpcStatus) ?? stream.response.value(.grpcStatus)
            let code = text?.decimal.flatMap { Int(exactly: $0) } ?? GRPCStatus.code(for: stream.response.status)
            return codes.contains(code) != excludes
        case .logType(let excludes, let includesEnd): return includesEnd != excludes
        case .metadata(let matcher, let whenMissing):
            guard let matcher, stream.metadata?.values[matcher.filter]?.value(at: matcher.path) != nil else {
                return whenMissing
            }
            return matcher.matches(stream.metadata)
        }
    }
}

extension AccessLogFilter.Comparison {
    func holds(_ value: Int, _ bound: Int) -> Bool {
        switch self {
        case .equal: value == bound
        case .atLeast: value >= bound
        case .atMost: value <= bound
        case .notEqual: value != bound
        }
    }
}
