import JSON
import XDS

/// What a collector of spans is sent, in words: attributes by name, without what differs between any two spans.
enum SpanLines {
    /// The lines of each span of an `ExportTraceServiceRequest`.
    static func read(_ body: [UInt8]) -> [[String]] {
        guard
            let type = ProtoSchema.envoy.message("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"),
            let message = try? Message(binary: body, type: type)
        else { return [["(no spans: \(printable(body))"]] }
        var spans: [[String]] = []
        for resource in message.json()["resource_spans"]?.array ?? [] {
            let about = attributes(resource["resource"]).filter { !$0.contains("telemetry.sdk.") }
            for scope in resource["scope_spans"]?.array ?? [] {
                for span in scope["spans"]?.array ?? [] { spans.append(lines(span) + about.map { "  resource \($0)" }) }
            }
        }
        return spans
    }

    private static func lines(_ span: JSONValue) -> [String] {
        var lines = [
            "span \(span["name"]?.string ?? ""), \(span["kind"] ?? .null), state \(span["trace_state"]?.string ?? ""), flags \(span["flags"] ?? .null), "
                + "\(span["parent_span_id"] == nil ? "without" : "with") parent, status \(span["status"]?["code"] ?? .null)"
        ]
        lines += attributes(span).map { "  \($0)" }
        lines += (span["events"]?.array ?? []).map { "  event \($0["name"]?.string ?? "")" }
        return lines
    }

    private static func attributes(_ value: JSONValue?) -> [String] {
        (value?["attributes"]?.array ?? []).map { "\($0["key"]?.string ?? ""): \($0["value"] ?? .null)" }.sorted()
    }
}
