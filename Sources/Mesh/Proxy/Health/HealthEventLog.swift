import Bytes
import JSON
import Reactor
import XDS

/// Where a cluster's active health checks tell what becomes of its hosts: lines of JSON in the form of Envoy's
/// `envoy.data.core.v3.HealthCheckEvent`.
struct HealthEventLog: Sendable {
    private let files: [LogFile]
    /// Also failures and successes that change nothing.
    private let logsFailures: Bool
    private let logsSuccesses: Bool

    /// `event_logger`, `event_log_path` and what goes with them; nil where nothing is told to anybody.
    init?(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        logsFailures = node.bool("always_log_health_check_failures")
        logsSuccesses = node.bool("always_log_health_check_success")
        var paths = try node.messages("event_logger") { (entry) throws(ConfigError) in
            _ = entry.string("name")
            guard let sink = try entry.typed("typed_config") else { throw entry.error("typed_config", "is missing") }
            guard sink.typeName == "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink" else {
                throw entry.error("typed_config", "health check event sink \(sink.typeName) is not supported")
            }
            return sink.string("event_log_path")
        }
        let older = node.string("event_log_path")
        if !older.isEmpty { paths.append(older) }
        var files: [LogFile] = []
        for path in paths {
            do { files.append(try context.logs.open(path)) } catch { throw node.error("event_logger", "\(error)") }
        }
        self.files = files
        guard !files.isEmpty else { return nil }
    }

    /// What a probe did to a host.
    struct Subject {
        var host: Host
        var locality: Locality
        var cluster: String
        /// "HTTP", "TCP" or "GRPC".
        var checker: String
        var isFirst: Bool
    }

    func note(_ answer: HealthProbe.Answer, before: HostHealth, after: HostHealth, _ subject: Subject) {
        let wasWell = !before.contains(.failedActiveCheck)
        let isWell = !after.contains(.failedActiveCheck)
        switch answer.result {
        case .success:
            if isWell, !wasWell { write("add_healthy_event", ["first_check": .bool(subject.isFirst)], subject) }
            if logsSuccesses { write("successful_health_check_event", [:], subject) }
        case .failure(let failure):
            let kind: JSONValue = [
                "failure_type": .string(failure.eventName), "http_status_code": .int(Int64(answer.httpStatus)),
            ]
            if wasWell, !isWell { write("eject_unhealthy_event", kind, subject) }
            if logsFailures || subject.isFirst {
                var event = kind.object ?? JSONObject()
                event["first_check"] = .bool(subject.isFirst)
                write("health_check_failure_event", .object(event), subject)
            }
        }
        guard isWell, before.contains(.degradedActiveCheck) != after.contains(.degradedActiveCheck) else { return }
        let isDegraded = after.contains(.degradedActiveCheck)
        write(isDegraded ? "degraded_healthy_host" : "no_longer_degraded_host", [:], subject)
    }

    private func write(_ name: String, _ event: JSONValue, _ subject: Subject) {
        let locality = subject.locality
        var time: [UInt8] = []
        Timestamp.now().appendRFC3339(to: &time, fraction: 3)
        let line: JSONValue = [
            "health_checker_type": .string(subject.checker), "host": subject.host.address.envoyJSON,
            "cluster_name": .string(subject.cluster), "timestamp": .string(String(decoding: time, as: UTF8.self)),
            name: event,
            "locality": [
                "region": .string(locality.region), "zone": .string(locality.zone),
                "sub_zone": .string(locality.subZone),
            ],
        ]
        let bytes = line.encoded() + [UInt8(ascii: "\n")]
        bytes.withUnsafeBytes { bytes in for file in files { file.append(bytes) } }
    }
}

extension HealthCheckResult.Failure {
    /// `envoy.data.core.v3.HealthCheckFailureType`
    fileprivate var eventName: String {
        switch self {
        case .definite, .retriable: "ACTIVE"
        case .passive: "PASSIVE"
        case .network: "NETWORK"
        case .timeout: "NETWORK_TIMEOUT"
        }
    }
}
