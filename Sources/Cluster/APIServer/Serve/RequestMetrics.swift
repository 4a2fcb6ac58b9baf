import Bytes
import ClusterAPI
import Synchronization

/// Counts requests, and lets in only so many at once.
final class RequestMetrics: Sendable {
    struct Label: Hashable, Sendable {
        var verb: String
        var resource: String
        var code: Int
    }

    private struct Series {
        var count: UInt64 = 0
        var seconds = 0.0
        var buckets: [UInt64] = Array(repeating: 0, count: bounds.count)
    }

    /// Seconds; upper bounds.
    private static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 60]
    /// Different labels that are kept; clients cannot make more than verbs × resources × codes, this bounds bugs.
    private static let seriesLimit = 10_000

    private let series = Mutex<[Label: Series]>([:])
    private let reads = Atomic(0)
    private let writes = Atomic(0)
    private let refused = Atomic(0)

    func count(_ label: Label, _ duration: Duration) {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        series.withLock { all in
            guard all.count < Self.seriesLimit || all[label] != nil else { return }
            all[label, default: Series()].count += 1
            all[label]?.seconds += seconds
            for (index, bound) in Self.bounds.enumerated() where seconds <= bound { all[label]?.buckets[index] += 1 }
        }
    }

    /// A place among the requests in progress.
    struct Ticket: Sendable {
        fileprivate let metrics: RequestMetrics
        fileprivate let writes: Bool
        func leave() {
            if writes {
                metrics.writes.subtract(1, ordering: .relaxed)
            } else {
                metrics.reads.subtract(1, ordering: .relaxed)
            }
        }
    }

    /// - Throws: `tooManyRequests`.
    func admit(writes isWrite: Bool) throws(StatusError) -> Ticket {
        let (now, limit) =
            isWrite
            ? (writes.add(1, ordering: .relaxed).newValue, APIHandler.writeLimit)
            : (reads.add(1, ordering: .relaxed).newValue, APIHandler.readLimit)
        let ticket = Ticket(metrics: self, writes: isWrite)
        guard now <= limit else {
            ticket.leave()
            refused.add(1, ordering: .relaxed)
            throw .tooManyRequests("Too many requests, please try again later.", retryAfterSeconds: 1)
        }
        return ticket
    }

    /// Prometheus text.
    func render(into out: inout [UInt8], watches: Int) {
        let all = series.withLock { $0 }.sorted {
            ($0.key.verb, $0.key.resource, $0.key.code) < ($1.key.verb, $1.key.resource, $1.key.code)
        }
        out.append(
            utf8:
                "# HELP apiserver_request_total Requests by verb, resource and code.\n# TYPE apiserver_request_total counter\n"
        )
        for (label, value) in all { out.append(utf8: "apiserver_request_total{\(text(label))} \(value.count)\n") }
        out.append(
            utf8:
                "# HELP apiserver_request_duration_seconds Time to the answer; of watches, to their end.\n# TYPE apiserver_request_duration_seconds histogram\n"
        )
        for (label, value) in all {
            for (bound, count) in zip(Self.bounds, value.buckets) {
                out.append(utf8: "apiserver_request_duration_seconds_bucket{\(text(label)),le=\"\(bound)\"} \(count)\n")
            }
            out.append(utf8: "apiserver_request_duration_seconds_bucket{\(text(label)),le=\"+Inf\"} \(value.count)\n")
            out.append(utf8: "apiserver_request_duration_seconds_sum{\(text(label))} \(value.seconds)\n")
            out.append(utf8: "apiserver_request_duration_seconds_count{\(text(label))} \(value.count)\n")
        }
        out.append(utf8: "# TYPE apiserver_current_inflight_requests gauge\n")
        out.append(
            utf8: "apiserver_current_inflight_requests{request_kind=\"readOnly\"} \(reads.load(ordering: .relaxed))\n")
        out.append(
            utf8: "apiserver_current_inflight_requests{request_kind=\"mutating\"} \(writes.load(ordering: .relaxed))\n")
        out.append(utf8: "# TYPE apiserver_rejected_requests_total counter\n")
        out.append(utf8: "apiserver_rejected_requests_total \(refused.load(ordering: .relaxed))\n")
        out.append(
            utf8:
                "# TYPE apiserver_longrunning_requests gauge\napiserver_longrunning_requests{verb=\"WATCH\"} \(watches)\n"
        )
    }

    private func text(_ label: Label) -> String {
        "verb=\"\(label.verb)\",resource=\"\(label.resource)\",code=\"\(label.code)\""
    }
}
