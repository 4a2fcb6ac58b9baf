import Reactor

/// The filters of one connection on their way: which have let it pass, and which still look at its bytes.
final class NetworkFilterRun {
    private let filters: [NetworkFilter]
    /// How many let the connection in, and are told of its end.
    private var passed = 0
    /// Those that still want data.
    private var curious: [Int]
    private var isRefused = false
    private var timer = TimerHandle.none

    init(_ filters: [NetworkFilter]) {
        self.filters = filters
        curious = filters.indices.filter { filters[$0].seesData }
    }

    /// Before anything was read or said. May close the connection.
    func accepted(_ connection: ProxyConnection) {
        for filter in filters {
            guard case .proceed = filter.accepted(connection, self) else { return }
            passed += 1
        }
    }

    /// Whether the terminal filter is told of the connection.
    func mayOpen() -> Bool { !isRefused }

    /// Whether bytes may pass on to the terminal filter.
    func mayPass(_ bytes: UnsafeRawBufferPointer, _ connection: ProxyConnection) -> Bool {
        guard !isRefused else { return false }
        guard !curious.isEmpty else { return true }
        var index = 0
        while index < curious.count {
            switch filters[curious[index]].data(connection, self) {
            case .proceed: index += 1
            case .done: curious.remove(at: index)
            case .refused: return false
            }
        }
        return true
    }

    /// Closes the connection, after `delay` nanoseconds in which nothing of it is read.
    func refuse(_ connection: ProxyConnection, _ refusal: ConnectionRefusal, after delay: UInt64) {
        isRefused = true
        connection.refusal = refusal
        guard delay > 0 else { return connection.abort() }
        connection.pauseReading()
        timer = connection.worker.loop.schedule(after: .nanoseconds(Int64(clamping: delay))) { [weak connection] in
            connection?.abort()
        }
    }

    func closed(_ connection: ProxyConnection) {
        connection.worker.loop.cancel(timer)
        for filter in filters[..<passed] { filter.closed() }
        passed = 0
    }
}
