import HTTP
import Protobuf
import TLS

/// A service that lines of access logs go to instead of a file. Immutable, shared by the logs that say the same.
final class LogService: Sendable {
    /// Bytes that wait for a service at most; lines beyond are dropped and counted.
    static let limit = 1 << 20

    struct Settings: Hashable, Sendable {
        enum Kind: Hashable, Sendable {
            /// `LogRecord`s, an `ExportLogsServiceRequest` a batch.
            case openTelemetry
            /// `envoy.service.accesslog.v3`: one stream for all lines.
            case http, tcp
        }

        var kind: Kind
        var collector: Collector
        /// Encoded: what tells the service whose lines these are; the resource, or the stream's identifier.
        var identity: [UInt8]
        /// Nanoseconds that a line waits for others at most.
        var interval: UInt64
        /// Bytes that are sent without waiting for more.
        var batch: Int
    }

    let settings: Settings
    let target: CallTarget
    let stats: StatBlockID<LogServiceStat>

    init(_ settings: Settings, _ stats: StatBlockID<LogServiceStat>) {
        self.settings = settings
        self.stats = stats
        target = settings.collector.target
    }

    /// Sends an `ExportLogsServiceRequest` of encoded records.
    func export(_ records: UnsafeRawBufferPointer, _ worker: ProxyWorker, _ completion: @escaping () -> Void) -> Call {
        var message = ReverseBuffer(capacity: records.count + settings.identity.count + 32)
        message.prepend(records)
        message.close(field: 2, since: 0)
        message.prepend(settings.identity)
        message.close(field: 1, since: 0)
        return settings.collector.send(
            message, method: "/opentelemetry.proto.collector.logs.v1.LogsService/Export", to: target, worker
        ) { _ in completion() }
    }

    /// A `StreamAccessLogsMessage` of encoded entries; the first of a stream says whose they are.
    func message(_ entries: UnsafeRawBufferPointer, isFirst: Bool) -> [UInt8] {
        var message = ReverseBuffer(capacity: entries.count + settings.identity.count + 32)
        message.prepend(entries)
        message.close(field: settings.kind == .tcp ? 3 : 2, since: 0)
        if isFirst { message.prepend(settings.identity) }
        return message.bytes
    }

    /// What a stream of entries is opened with.
    var stream: GRPCStream.Target {
        GRPCStream.Target(
            cluster: target.cluster, authority: target.authority,
            path: "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs",
            metadata: settings.collector.headers.map {
                ($0.key.description, String(decoding: $0.value, as: UTF8.self))
            }, messageLimit: 1 << 16)
    }
}

/// What is counted of all services of a kind together.
struct LogServiceStat: StatBlock {
    let rawValue: Int
    init?(rawValue: Int) {
        guard Self.leaves.indices.contains(rawValue) else { return nil }
        self.rawValue = rawValue
    }

    static let allCases = leaves.indices.compactMap { LogServiceStat(rawValue: $0) }
    private static let leaves = [
        "access_logs.grpc_access_log.logs_written", "access_logs.grpc_access_log.logs_dropped",
        "access_logs.open_telemetry_access_log.logs_written", "access_logs.open_telemetry_access_log.logs_dropped",
    ]
    var leaf: String { Self.leaves[rawValue] }

    static func written(_ kind: LogService.Settings.Kind) -> LogServiceStat { allCases[kind == .openTelemetry ? 2 : 0] }
    static func dropped(_ kind: LogService.Settings.Kind) -> LogServiceStat { allCases[kind == .openTelemetry ? 3 : 1] }
}
