import Bytes
import Reactor
import XDS

/// Listeners that are asked for when somebody first wants to go where they lead, by name and beside what else the control plane says. On
/// the directory's loop.
///
/// What was asked for is followed from then on, also where there is nothing: it may come. What nobody has wanted for long is given up,
/// and what was wanted longest ago when there would be too many.
final class OnDemandListeners {
    /// Destinations that are followed. Whoever goes to more of them in a short time goes on without.
    static let limit = 2048

    private unowned let directory: ClusterDirectory
    private var entries: [String: Entry] = [:]
    private var sweep = TimerHandle.none
    /// Of workers that were asked what is in use.
    private var answersDue = 0
    private(set) var counters = Counters()
    /// A listener is of no use any more: those who serve by it let it go.
    var dropped: ((String) -> Void)?
    /// Now and then, for what the last connections held on to.
    var swept: (() -> Void)?

    /// What an earlier run followed: it is followed again when a listener says how.
    var remembered: [String] = []

    struct Counters {
        var asked: UInt64 = 0
        var timedOut: UInt64 = 0
        /// Asked for while no control plane could be reached.
        var unreachable: UInt64 = 0
        var overflows: UInt64 = 0
        var dropped: UInt64 = 0
        var here = 0
        var absent = 0
    }

    private enum Standing { case asked, here, absent }

    private struct Entry {
        let destination: SocketAddress
        let demand: ListenerDemand
        var standing = Standing.asked
        var workers: [ProxyWorker] = []
        var timer = TimerHandle.none
        var lastUse: UInt64
        /// The session has it from an earlier run.
        var isInHand = false
    }

    init(_ directory: ClusterDirectory) { self.directory = directory }

    private func session(_ demand: ListenerDemand) -> DiscoverySession? {
        directory.discovery?.session(demand.origin, .listener)
    }

    /// Tells the worker (`settleDestination`) when the listener serves there, or will not soon.
    func find(_ destination: SocketAddress, _ demand: ListenerDemand, for worker: ProxyWorker) {
        guard let name = ListenerDemand.name(destination) else { return settle(destination, [worker], .forgotten) }
        let now = directory.loop.now.nanoseconds
        if entries[name] != nil {
            entries[name]?.lastUse = now
            switch entries[name]?.standing {
            case .here: settle(destination, [worker], .here)
            // Its timer is over, so the control plane is silent; it may speak yet.
            case .asked where entries[name]?.timer == TimerHandle.none: settle(destination, [worker], .silent)
            case .asked: entries[name]?.workers.append(worker)
            default: settle(destination, [worker], .absent)
            }
            return
        }
        guard makeRoom(), let session = session(demand) else {
            counters.overflows &+= 1
            return settle(destination, [worker], .forgotten)
        }
        counters.asked &+= 1
        entries[name] = Entry(destination: destination, demand: demand, workers: [worker], lastUse: now)
        session.subscribeToListener(name)
        if sweep == .none { scheduleSweep(demand) }
        // Nobody would answer: the call is not to wait for the control plane to come back.
        guard session.isConnected else {
            counters.unreachable &+= 1
            return silent(name)
        }
        limitWaiting(name, demand)
    }

    private func limitWaiting(_ name: String, _ demand: ListenerDemand) {
        entries[name]?.timer = directory.loop.schedule(after: .nanoseconds(Int64(clamping: demand.timeout))) {
            [weak self] in
            guard let self else { return }
            counters.timedOut &+= 1
            ProxyLog.warning(.config, "no listener \(name) has come in time")
            entries[name]?.timer = .none
            silent(name)
        }
    }

    /// Goes on with what an earlier run followed, which the session has in hand.
    func goOn(_ demand: ListenerDemand) {
        guard !remembered.isEmpty, let session = session(demand) else { return }
        let names = remembered
        remembered = []
        for name in names where entries[name] == nil && entries.count < Self.limit {
            guard let destination = ListenerDemand.destination(name) else { continue }
            entries[name] = Entry(
                destination: destination, demand: demand, lastUse: directory.loop.now.nanoseconds, isInHand: true)
            session.subscribeToListener(name)
            limitWaiting(name, demand)
        }
        if sweep == .none { scheduleSweep(demand) }
    }

    /// Who waits goes on without; whatever is said later holds for those who come later.
    private func silent(_ name: String) {
        guard let entry = entries[name] else { return }
        entries[name]?.workers = []
        settle(entry.destination, entry.workers, .silent)
    }

    /// The stream by which it would come has ended: nobody waits for the next one.
    func streamEnded(_ origin: ConfigSource.Origin) {
        for (name, entry) in entries where entry.standing == .asked && entry.timer != .none {
            guard entry.demand.origin == origin, !entry.isInHand else { continue }
            directory.loop.cancel(entry.timer)
            entries[name]?.timer = .none
            counters.unreachable &+= 1
            silent(name)
        }
    }

    /// A listener serves on all workers.
    func came(_ name: String) {
        guard let entry = stand(name, .here) else { return }
        // By those who have waited for it.
        entries[name]?.lastUse = directory.loop.now.nanoseconds
        // Also those who have waited in vain.
        settle(entry.destination, directory.workers, .here)
    }

    /// There are none of these names, for now, or none that can be used.
    func giveUp(_ names: [String]) {
        for name in names where entries[name]?.standing == .asked {
            guard let entry = stand(name, .absent) else { continue }
            settle(entry.destination, directory.workers, .absent)
        }
    }

    /// The control plane takes these away; they may come again.
    func gone(_ names: [String]) { for name in names { _ = stand(name, .absent) } }

    /// - Returns: It as it was.
    private func stand(_ name: String, _ standing: Standing) -> Entry? {
        guard let entry = entries[name] else { return nil }
        directory.loop.cancel(entry.timer)
        count(entry.standing, -1)
        count(standing, 1)
        entries[name]?.timer = .none
        entries[name]?.isInHand = false
        entries[name]?.standing = standing
        entries[name]?.workers = []
        return entry
    }

    private func count(_ standing: Standing, _ change: Int) {
        if standing == .here { counters.here += change }
        if standing == .absent { counters.absent += change }
    }

    private func settle(_ destination: SocketAddress, _ workers: [ProxyWorker], _ answer: ListenerAnswer) {
        for worker in workers {
            worker.loop.submit { worker.settleDestination(destination, answer) }
        }
    }

    // MARK: Giving up

    private func makeRoom() -> Bool {
        guard entries.count >= Self.limit else { return true }
        let idle = entries.filter { $0.value.standing == .absent }.min { $0.value.lastUse < $1.value.lastUse }
        guard let idle else { return false }
        drop(idle.key)
        return true
    }

    private func drop(_ name: String) {
        guard let entry = entries.removeValue(forKey: name) else { return }
        count(entry.standing, -1)
        counters.dropped &+= 1
        directory.loop.cancel(entry.timer)
        session(entry.demand)?.unsubscribe(.listener, name)
        if entry.standing == .here { dropped?(name) }
        settle(entry.destination, directory.workers, .forgotten)
    }

    private func scheduleSweep(_ demand: ListenerDemand) {
        sweep = directory.loop.schedule(after: .nanoseconds(Int64(clamping: min(demand.idleTime / 4, 60_000_000_000))))
        {
            [weak self] in self?.askWorkers(demand)
        }
    }

    /// Workers know when destinations were last wanted.
    private func askWorkers(_ demand: ListenerDemand) {
        let names = Array(entries.keys)
        let destinations = names.compactMap { entries[$0]?.destination }
        answersDue = directory.workers.count
        for worker in directory.workers {
            worker.loop.submit { [directory] in
                let uses = worker.lastUses(destinations)
                directory.loop.submit { directory.onDemandListeners.take(uses, of: names, demand) }
            }
        }
    }

    /// What a worker says.
    private func take(_ uses: [UInt64], of names: [String], _ demand: ListenerDemand) {
        for (name, use) in zip(names, uses) where use > entries[name]?.lastUse ?? .max { entries[name]?.lastUse = use }
        answersDue -= 1
        if answersDue == 0 { dropIdle(demand) }
    }

    private func dropIdle(_ demand: ListenerDemand) {
        let now = directory.loop.now.nanoseconds
        for (name, entry) in entries
        where entry.workers.isEmpty && now &- min(entry.lastUse, now) > entry.demand.idleTime {
            // While nobody could bring it back it stays.
            guard session(entry.demand)?.isConnected == true else { continue }
            drop(name)
        }
        swept?()
        scheduleSweep(demand)
    }

    func close() {
        directory.loop.cancel(sweep)
        for entry in entries.values { directory.loop.cancel(entry.timer) }
        entries = [:]
    }
}

extension OnDemandListeners.Counters {
    /// Of those who never asked for one nothing is told.
    func report(to report: inout StatReport) {
        guard asked > 0 else { return }
        for (leaf, value) in [
            ("asked", asked), ("timed_out", timedOut), ("unreachable", unreachable), ("overflow", overflows),
            ("dropped", dropped),
        ] { report.counter(.process, "listener_manager.on_demand.\(leaf)", value) }
        report.gauge(.process, "listener_manager.on_demand.active", Int64(here))
        report.gauge(.process, "listener_manager.on_demand.absent", Int64(absent))
    }
}
