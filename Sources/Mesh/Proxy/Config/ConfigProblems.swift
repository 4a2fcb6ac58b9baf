import Synchronization

/// What was refused of configuration that came while the proxy runs: said in the log and kept for who asks. Any thread.
package final class ConfigProblems: Sendable {
    /// So many of the newest are kept.
    static let kept = 64
    private let reports = Mutex<(count: UInt64, newest: [String])>((0, []))

    package init() {}

    func report(_ problem: String) {
        reports.withLock { reports in
            reports.count += 1
            reports.newest.append(problem)
            if reports.newest.count > Self.kept { reports.newest.removeFirst() }
        }
        ProxyLog.warning(.config, "rejected: \(problem)")
    }

    /// Since the start (`update_rejected`).
    package var count: UInt64 { reports.withLock { $0.count } }
    package var newest: [String] { reports.withLock { $0.newest } }
}
