import ClusterAPI
import Store
import Synchronization
import Telemetry

/// Counts requests, and lets in only so many at once.
final class RequestMetrics: Sendable {
    struct Label: Sendable {
        var verb: String
        var resource: String
        var code: Int
    }

    let registry: MetricsRegistry
    private let requests: MetricFamily<Counter>
    private let durations: MetricFamily<Histogram>
    private let refused: Counter
    private let reads = Atomic(0)
    private let writes = Atomic(0)

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        requests = registry.counter(
            "apiserver_request_total", "Requests by verb, resource and code.", labels: ["verb", "resource", "code"])
        durations = registry.histogram(
            "apiserver_request_duration_seconds", "Time to the answer; of watches, to their end.",
            labels: ["verb", "resource"])
        refused = registry.counter(
            "apiserver_rejected_requests_total", "Requests refused because too many were in progress.")
    }

    /// Adds what is read from elsewhere when somebody looks.
    func watch(_ watches: OpenWatches, _ storage: ObjectStorage) {
        registry.collect("apiserver_longrunning_requests", "Requests without an end.", labels: ["verb"]) {
            [.init(["WATCH"], Double(watches.count))]
        }
        registry.collect(
            "apiserver_current_inflight_requests", "Requests in progress.", labels: ["request_kind"]
        ) { [weak self] in
            [
                .init(["readOnly"], Double(self?.reads.load(ordering: .relaxed) ?? 0)),
                .init(["mutating"], Double(self?.writes.load(ordering: .relaxed) ?? 0)),
            ]
        }
        registry.collect("weft_store_revision", "Revision of the newest write.") {
            [.init([], Double(storage.currentRevision.rawValue))]
        }
        guard let store = storage.store as? SQLiteStore else { return }
        let figures: [(name: String, help: String, kind: String, read: @Sendable (SQLiteStore.Statistics) -> Int)] = [
            ("weft_store_keys", "Keys, removed ones that history still holds included.", "gauge", { $0.keys }),
            ("weft_store_history_events", "Writes that history holds.", "gauge", { $0.historyEvents }),
            ("weft_store_history_bytes", "Memory that only history holds.", "gauge", { $0.historyBytes }),
            ("weft_store_commits_total", "Transactions, each with one sync.", "counter", { $0.commits }),
            ("weft_store_writes_total", "Writes in them.", "counter", { $0.writes }),
            ("weft_store_commit_failures_total", "Transactions that the disk refused.", "counter", { $0.failures }),
        ]
        for figure in figures {
            registry.collect(figure.name, figure.help, kind: figure.kind) {
                [.init([], Double(figure.read(store.statistics)))]
            }
        }
    }

    func count(_ label: Label, _ duration: Duration) {
        requests[label.verb, label.resource, String(label.code)].increment()
        durations[label.verb, label.resource].observe(duration)
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
            refused.increment()
            throw .tooManyRequests("Too many requests, please try again later.", retryAfterSeconds: 1)
        }
        return ticket
    }
}
