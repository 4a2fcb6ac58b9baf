import HTTP
import TLS

/// How a connection manager traces its requests. An immutable snapshot.
final class Tracing: Sendable {
    struct Options: Sendable {
        var sampling = TraceSampling()
        /// The reason is written into `x-request-id`.
        var packsReason = true
        /// The number in `x-request-id` decides; else every request is traced.
        var samplesByRequestID = true
        /// Spans have events for the moments of their streams.
        var isVerbose = false
        /// Bytes of a path in `http.url`.
        var maximumPathLength = 256
        var tags: [CustomTag] = []
        /// Each attempt has a span of its own.
        var spansAttempts = false
        var operation: Template?
        var attemptOperation: Template?
        /// Upstreams are told the trace.
        var propagates = true
        /// For requests that leave: a client's span, that names itself after where it goes.
        var isEgress = false
        var node: [UInt8] = []
        var zone: [UInt8] = []
    }

    let options: Options
    /// nil where spans go nowhere: requests are only sampled.
    let export: TraceExport?
    let stats: StatBlockID<TracingStat>

    init(_ options: Options, _ export: TraceExport?, _ stats: StatBlockID<TracingStat>) {
        self.options = options
        self.export = export
        self.stats = stats
    }

    /// The request has its route: decides whether it is traced, and begins its span.
    func begin(_ stream: HTTPStream) {
        let override = stream.route?.tracing
        let reason =
            options.samplesByRequestID
            ? (override?.sampling(options.sampling) ?? options.sampling).decide(
                stream, packsReason: options.packsReason)
            : .sampled
        stream.routing.traceReason = reason
        stream.worker.count(stats, TracingStat(reason))
        guard let export else { return }
        stream.trace = StreamTrace(self, export, stream, isTraced: reason != .none)
    }
}

/// What a route says of tracing (`config.route.v3.Tracing`), and of what it does (`decorator`).
final class RouteTracing: Sendable {
    let client: RuntimeFraction?
    let random: RuntimeFraction?
    let overall: RuntimeFraction?
    let tags: [CustomTag]
    let operation: Template?
    let attemptOperation: Template?

    init(
        client: RuntimeFraction?, random: RuntimeFraction?, overall: RuntimeFraction?, tags: [CustomTag],
        operation: Template?, attemptOperation: Template?
    ) {
        self.client = client
        self.random = random
        self.overall = overall
        self.tags = tags
        self.operation = operation
        self.attemptOperation = attemptOperation
    }

    func sampling(_ general: TraceSampling) -> TraceSampling {
        TraceSampling(
            client: client ?? general.client, random: random ?? general.random, overall: overall ?? general.overall)
    }
}
