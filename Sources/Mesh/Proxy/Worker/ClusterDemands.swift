/// Who waits on a worker for clusters that are being found (`OnDemandClusters`): each name is asked for once, whoever waits.
struct ClusterDemands {
    /// Called once: the cluster is there now, or is not to be had.
    typealias Answer = () -> Void

    private var waiting: [String: [(number: UInt64, answer: Answer)]] = [:]
    private var last: UInt64 = 0

    /// - Returns: What withdraws it, and whether nobody has asked for the name yet.
    mutating func add(_ name: String, _ answer: @escaping Answer) -> (number: UInt64, isFirst: Bool) {
        last &+= 1
        let isFirst = waiting[name] == nil
        waiting[name, default: []].append((last, answer))
        return (last, isFirst)
    }

    mutating func remove(_ name: String, _ number: UInt64) {
        // The name stays, so that it is not asked for twice.
        waiting[name]?.removeAll { $0.number == number }
    }

    mutating func take(_ name: String) -> [Answer] { waiting.removeValue(forKey: name)?.map(\.answer) ?? [] }
}

/// What somebody waits for; withdrawn by `cancel`, or by going.
final class ClusterDemand {
    private let name: String
    private var number: UInt64 = 0
    private weak var worker: ProxyWorker?

    /// Asks for a cluster, on the worker's loop; `answer` is called on it, never at once.
    init(_ name: String, _ source: OnDemandSource, _ worker: ProxyWorker, _ answer: @escaping () -> Void) {
        self.name = name
        self.worker = worker
        number = worker.demand(name, source, answer)
    }

    deinit { worker?.withdraw(name, number) }
}

extension ProxyWorker {
    fileprivate func demand(_ name: String, _ source: OnDemandSource, _ answer: @escaping () -> Void) -> UInt64 {
        let (number, isFirst) = demands.add(name, answer)
        guard isFirst else { return number }
        if let directory {
            directory.loop.submit { directory.onDemand.find(name, source, for: self) }
        } else {
            loop.submit { self.settleDemand(name) }
        }
        return number
    }

    fileprivate func withdraw(_ name: String, _ number: UInt64) { demands.remove(name, number) }

    /// The cluster is here now, or is not to be had.
    func settleDemand(_ name: String) {
        for answer in demands.take(name) { answer() }
        flush()
    }
}
