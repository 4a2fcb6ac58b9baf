import Glibc
import Reactor

/// Looks at what the proxy uses, and tells the workers how far to hold back. On the directory's loop.
final class OverloadMonitor {
    private let settings: OverloadSettings
    private let loop: EventLoop
    private let workers: [ProxyWorker]
    private var timer = TimerHandle.none
    private var pressures: [String: Double] = [:]
    private var failures: [String: UInt64] = [:]
    private var levels: [OverloadSettings.Action: Double] = [:]
    /// nil before the workers were told anything.
    private var told: OverloadLevels?
    private var shrinkAt = MonotonicTime.now()
    private var shrinks: UInt64 = 0

    init(_ settings: OverloadSettings, on loop: EventLoop, _ workers: [ProxyWorker]) {
        self.settings = settings
        self.loop = loop
        self.workers = workers
    }

    func start() {
        look()
        timer = loop.schedule(after: settings.interval) { [weak self] in self?.start() }
    }

    func close() { loop.cancel(timer) }

    private func look() {
        for monitor in settings.monitors {
            switch monitor.resource {
            case .heap(let most): pressures[monitor.name] = Double(ProcessMemory.heapInUse) / Double(most)
            case .controlGroup(let most):
                if let group = ControlGroupMemory.now(), let limit = group.limit(atMost: most) {
                    pressures[monitor.name] = Double(group.used) / Double(limit)
                } else {
                    failures[monitor.name, default: 0] += 1
                }
            case .connections: break
            }
        }
        levels = settings.levels(pressures)
        let holding = OverloadLevels(
            refusedRequests: levels[.stopAcceptingRequests] ?? 0, endedConnections: levels[.disableKeepAlive] ?? 0,
            refusedConnections: levels[.rejectConnections] ?? 0,
            stopsAccepting: levels[.stopAcceptingConnections] == 1)
        if holding != told {
            told = holding
            for worker in workers { worker.loop.submit { worker.overload = holding } }
        }
        if levels[.shrinkHeap] == 1, loop.now >= shrinkAt {
            Heap.giveBack()
            shrinks += 1
            shrinkAt = loop.now.adding(settings.shrinkInterval)
        }
    }

    /// Under Envoy's names.
    func report(to report: inout StatReport) {
        for monitor in settings.monitors {
            if case .connections = monitor.resource { continue }
            let pressure = Int64((min(max(pressures[monitor.name] ?? 0, 0), 1_000_000) * 100).rounded(.down))
            report.gauge(.process, "overload.\(monitor.name).pressure", pressure)
            report.counter(.process, "overload.\(monitor.name).failed_updates", failures[monitor.name] ?? 0)
        }
        for (action, _) in settings.actions {
            let level = levels[action] ?? 0
            report.gauge(.process, "overload.\(action.rawValue).active", level == 1 ? 1 : 0)
            report.gauge(.process, "overload.\(action.rawValue).scale_percent", Int64(level * 100))
        }
        if settings.actions.contains(where: { $0.action == .shrinkHeap }) {
            report.counter(.process, "overload.envoy.overload_actions.shrink_heap.shrink_count", shrinks)
        }
    }
}

/// What the process's control group holds and may hold, in bytes.
struct ControlGroupMemory: Sendable {
    var used: UInt64
    /// nil for no limit.
    var most: UInt64?

    /// nil outside of any group, or where it cannot be read.
    static func now() -> ControlGroupMemory? {
        for (used, most) in [
            ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.max"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        ] {
            guard let text = try? Files.readText(used), let value = UInt64(text.filter(\.isNumber)) else { continue }
            let limit = (try? Files.readText(most)).flatMap { UInt64($0.filter(\.isNumber)) }
            return ControlGroupMemory(used: value, most: limit)
        }
        return nil
    }

    /// The smaller of the group's own limit and `configured`, which is none when it is 0.
    func limit(atMost configured: UInt64) -> UInt64? {
        guard configured > 0 else { return most }
        return min(configured, most ?? .max)
    }
}
