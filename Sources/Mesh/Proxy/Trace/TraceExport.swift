import HTTP
import Protobuf
import TLS

/// Where spans go: an OpenTelemetry collector, over HTTP or gRPC. Immutable, shared by the connection managers that say the same.
final class TraceExport: Sendable {
    struct Settings: Hashable, Sendable {
        var collector: Collector
        /// Of the resource that spans are of: this process.
        var attributes: [Collector.Attribute] = []
        var namesScope = true
        var sampler = TraceSampler.parent
        /// Spans that wait at most; more are dropped and counted.
        var maximumWaiting = 1024
    }

    let settings: Settings
    let target: CallTarget
    let stats: StatBlockID<TraceExportStat>
    /// Nanoseconds that a span waits for others at most.
    let interval: UInt64
    /// Spans that are sent without waiting for more.
    let batch: Int
    /// Encoded: what stands before the spans of each request.
    let resource: [UInt8]
    let scope: [UInt8]

    static let version = "0.1.0"

    init(_ settings: Settings, interval: UInt64, batch: Int, _ stats: StatBlockID<TraceExportStat>) {
        self.settings = settings
        self.interval = interval
        self.batch = batch
        self.stats = stats
        target = settings.collector.target
        var buffer = ReverseBuffer(capacity: 256)
        for attribute in settings.attributes.reversed() {
            Span.prepend(attribute.key, attribute.value, field: 1, to: &buffer)
        }
        buffer.close(field: 1, since: 0)
        resource = buffer.bytes
        buffer.removeAll()
        if settings.namesScope {
            buffer.prepend(field: 2, text: Self.version)
            buffer.prepend(field: 1, text: "weft-proxy")
            buffer.close(field: 1, since: 0)
        }
        scope = buffer.bytes
    }

    /// Sends an `ExportTraceServiceRequest` of encoded spans; `completion` hears whether the collector took them.
    func send(_ spans: UnsafeRawBufferPointer, _ worker: ProxyWorker, _ completion: @escaping (Bool) -> Void) -> Call {
        var message = ReverseBuffer(capacity: spans.count + resource.count + scope.count + 32)
        message.prepend(spans)
        message.prepend(scope)
        message.close(field: 2, since: 0)
        message.prepend(resource)
        message.close(field: 1, since: 0)
        return settings.collector.send(
            message, method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export", to: target, worker,
            completion)
    }
}

/// What is counted of all exports together.
enum TraceExportStat: Int, StatBlock {
    case sent, dropped, timerFlushed

    var leaf: String {
        switch self {
        case .sent: "tracing.opentelemetry.spans_sent"
        case .dropped: "tracing.opentelemetry.spans_dropped"
        case .timerFlushed: "tracing.opentelemetry.timer_flushed"
        }
    }
}

/// Which of the traces that begin here, or were begun elsewhere, are recorded, once tracing has decided for a request.
indirect enum TraceSampler: Hashable, Sendable {
    /// As whoever called decided; those without a caller are.
    case parent
    case always
    /// So many of 2³² traces, by the trace's own number.
    case ratio(UInt64)
    case parentBased(TraceSampler)

    func samples(_ context: TraceContext, hasParent: Bool) -> Bool {
        switch self {
        case .parent: context.isSampled
        case .always: true
        case .ratio(let part): context.low & 0xffff_ffff < part
        case .parentBased(let root): hasParent ? context.isSampled : root.samples(context, hasParent: false)
        }
    }
}
