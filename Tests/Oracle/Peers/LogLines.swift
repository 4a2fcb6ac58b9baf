import JSON
import XDS

/// What a collector of logs is sent, in words, without what differs between any two lines.
enum LogLines {
    /// The lines of each record of an `ExportLogsServiceRequest`.
    static func read(_ body: [UInt8]) -> [[String]] {
        guard
            let type = ProtoSchema.envoy.message("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"),
            let message = try? Message(binary: body, type: type)
        else { return [["(no logs: \(printable(body))"]] }
        var records: [[String]] = []
        for resource in message.json()["resource_logs"]?.array ?? [] {
            let about = attributes(resource["resource"]).map { "  resource \($0)" }
            for scope in resource["scope_logs"]?.array ?? [] {
                for record in scope["log_records"]?.array ?? [] {
                    let known: Set = ["body", "attributes", "time_unix_nano", "trace_id", "span_id"]
                    let others = (record.object.map { Array($0.keys) } ?? []).filter { !known.contains($0) }.sorted()
                    records.append(
                        ["record \(record["body"] ?? .null), time \(record["time_unix_nano"] != nil), \(others)"]
                            + attributes(record).map { "  \($0)" } + about)
                }
            }
        }
        return records
    }

    /// In their order.
    private static func attributes(_ value: JSONValue?) -> [String] {
        (value?["attributes"]?.array ?? []).map { "\($0["key"]?.string ?? ""): \($0["value"] ?? .null)" }
    }
}
