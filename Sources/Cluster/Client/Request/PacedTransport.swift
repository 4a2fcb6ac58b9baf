public import JSON
public import Telemetry

import ClusterAPI
public import Reactor
import Synchronization

/// A transport that asks no more often than it may, and counts what it asks, under client-go's names.
///
/// For clients of a server that is not ours: `qps` and `burst` of a component's `clientConnection`. A watch counts once,
/// when it is opened.
public final class PacedTransport: APITransport {
    private let inner: any APITransport
    private let loop: EventLoop
    private let bucket: Mutex<TokenBucket>?
    private let host: String
    private let requests: MetricFamily<Counter>
    private let duration: MetricFamily<Histogram>
    private let waited: MetricFamily<Histogram>

    private static let seconds: [Double] = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]

    /// - Parameters:
    ///   - loop: where requests that are held back wait.
    ///   - qps: requests a second in the long run; zero or less for no limit.
    ///   - burst: requests that may come at once after a quiet time, at least one.
    ///   - host: the server's host and port, a label of the metrics.
    public init(
        _ inner: any APITransport, on loop: EventLoop, qps: Double, burst: Int, host: String, registry: MetricsRegistry
    ) {
        self.inner = inner
        self.loop = loop
        self.host = host
        bucket = qps > 0 ? Mutex(TokenBucket(rate: qps, capacity: max(1, burst), at: .now())) : nil
        requests = registry.counter(
            "rest_client_requests_total", "Requests to the API server", labels: ["code", "method", "host"])
        duration = registry.histogram(
            "rest_client_request_duration_seconds", "Time from a request to its answer", labels: ["verb", "host"],
            bounds: Self.seconds)
        waited = registry.histogram(
            "rest_client_rate_limiter_duration_seconds", "Time that requests were held back", labels: ["verb", "host"],
            bounds: Self.seconds)
    }

    public func send(_ request: APIRequest) async throws -> JSONValue {
        try await counted(request.verb.method, request.verb == .create ? 201 : 200) {
            try await self.inner.send(request)
        }
    }

    public func document(_ path: String) async throws -> JSONValue {
        try await counted("GET", 200) { try await self.inner.document(path) }
    }

    public func watch(_ request: APIRequest) async throws -> any WatchStream {
        try await counted("GET", 200) { try await self.inner.watch(request) }
    }

    private func counted<Answer>(
        _ method: String, _ success: Int, _ work: () async throws -> Answer
    ) async throws -> Answer {
        let asked = MonotonicTime.now()
        if let delay = bucket?.withLock({ $0.take(at: asked) }), delay > .zero {
            try await loop.sleep(for: delay)
        }
        let start = MonotonicTime.now()
        waited[method, host].observe(start.duration(since: asked))
        do {
            let answer = try await work()
            requests["\(success)", method, host].increment()
            duration[method, host].observe(MonotonicTime.now().duration(since: start))
            return answer
        } catch let error as StatusError {
            requests["\(error.code)", method, host].increment()
            duration[method, host].observe(MonotonicTime.now().duration(since: start))
            throw error
        } catch {
            requests["<error>", method, host].increment()
            throw error
        }
    }
}

extension APIRequest.Verb {
    fileprivate var method: String {
        switch self {
        case .get, .list: "GET"
        case .create: "POST"
        case .update: "PUT"
        case .patch: "PATCH"
        case .delete, .deleteCollection: "DELETE"
        }
    }
}

/// So many in the long run, and some at once: a value that is told the time.
struct TokenBucket {
    private let rate: Double
    private let capacity: Double
    /// Negative: so many are promised to those that wait.
    private var tokens: Double
    private var updated: MonotonicTime

    init(rate: Double, capacity: Int, at now: MonotonicTime) {
        self.rate = rate
        self.capacity = Double(capacity)
        tokens = Double(capacity)
        updated = now
    }

    /// Takes one; how long its taker must wait for it.
    mutating func take(at now: MonotonicTime) -> Duration {
        let passed = now.duration(since: updated).components
        let seconds = max(0, Double(passed.seconds) + Double(passed.attoseconds) / 1e18)
        updated = max(updated, now)
        tokens = min(capacity, tokens + seconds * rate) - 1
        return tokens >= 0 ? .zero : .seconds(-tokens / rate)
    }
}
