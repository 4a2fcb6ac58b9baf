import Bytes
import Reactor

/// Look-ups of a DNS cluster's names, under Envoy's names of its updates.
struct LookupCounters: Sendable {
    var attempts: UInt64 = 0
    var successes: UInt64 = 0
    var failures: UInt64 = 0
    /// Hosts stayed as they were.
    var unchanged: UInt64 = 0
}

/// Keeps the addresses of a DNS cluster's names fresh. On the directory's loop.
final class NameDiscovery {
    private let endpoints: NamedEndpoints
    private unowned let directory: ClusterDirectory
    /// nil until a name was looked up for the first time, with whatever outcome.
    private var addresses: [[IPAddress]?]
    private var queries: [NameQuery?]
    private var timers: [TimerHandle]
    private let assign: (EndpointAssignment) -> Void
    private(set) var counters = LookupCounters()

    init(
        _ endpoints: NamedEndpoints, _ directory: ClusterDirectory, _ assign: @escaping (EndpointAssignment) -> Void
    ) {
        self.endpoints = endpoints
        self.directory = directory
        self.assign = assign
        addresses = Array(repeating: nil, count: endpoints.targets.count)
        queries = Array(repeating: nil, count: endpoints.targets.count)
        timers = Array(repeating: .none, count: endpoints.targets.count)
    }

    func start() {
        for number in endpoints.targets.indices { ask(number) }
        if endpoints.targets.isEmpty { assign(endpoints.expanded([])) }
    }

    func close() {
        for query in queries { query?.cancel() }
        for timer in timers { directory.loop.cancel(timer) }
        queries = []
    }

    private func ask(_ number: Int) {
        queries[number] = NameQuery(
            endpoints.targets[number].name, directory.resolution, servers: endpoints.options.servers,
            endpoints.options.family, on: directory.loop, seed: directory.random.next()
        ) { [weak self] outcome in self?.take(number, outcome) }
    }

    private func take(_ number: Int, _ outcome: NameQuery.Outcome) {
        queries[number] = nil
        counters.attempts += 1
        let next: Duration
        let before = addresses[number]
        switch outcome {
        case .addresses(let found, let ttl):
            counters.successes += 1
            next = endpoints.options.next(ttl: ttl)
            if endpoints.options.isLogical {
                // One address, and the same as long as the name has it: servers give them in turn.
                let kept = before?.first { found.contains($0) }
                addresses[number] = (kept ?? found.first).map { [$0] } ?? before ?? []
            } else {
                addresses[number] = found.sorted { $0.description < $1.description }
            }
        case .failed:
            // What was known stays.
            counters.failures += 1
            next = endpoints.options.failureRefresh ?? endpoints.options.refresh
            addresses[number] = before ?? []
        }
        timers[number] = directory.loop.schedule(after: next) { [weak self] in self?.ask(number) }
        if case .addresses = outcome, before ?? [] == addresses[number] ?? [] { counters.unchanged += 1 }
        guard before != addresses[number] else { return }
        let all = addresses.compactMap { $0 }
        if all.count == addresses.count { assign(endpoints.expanded(all)) }
    }
}
