import Bytes
import XDS

extension SubscriptionCounters {
    /// What a subscription tells besides what all of them do.
    struct More: OptionSet {
        let rawValue: Int
        /// How often what is in use became another, and when last.
        static let reloads = More(rawValue: 1)
        static let reloadTime = More(rawValue: 2)
        /// Answers that said nothing of what was asked for.
        static let empty = More(rawValue: 4)
    }

    /// - Parameter prefix: before each name, with its dot.
    func report(_ scope: StatScope, _ prefix: String = "", _ more: More = [], to report: inout StatReport) {
        report.counter(scope, prefix + "init_fetch_timeout", fetchTimeouts)
        report.counter(scope, prefix + "update_attempt", attempts)
        report.counter(scope, prefix + "update_failure", failures)
        report.counter(scope, prefix + "update_rejected", rejections)
        report.counter(scope, prefix + "update_success", successes)
        report.gauge(scope, prefix + "update_time", updated, isUsed: successes > 0)
        report.histogram(scope, prefix + "update_duration", HistogramSnapshot())
        // Envoy's number for a version's text.
        let number = version.isEmpty ? 0 : Int64(bitPattern: XXHash64.hash(version))
        report.gauge(scope, prefix + "version", number, isUsed: successes > 0)
        report.texts.append(StatText(scope.prefix + prefix + "version_text", version))
        if more.contains(.empty) { report.counter(scope, prefix + "update_empty", empty) }
        if more.contains(.reloads) { report.counter(scope, prefix + "config_reload", reloads) }
        if more.contains(.reloadTime) {
            report.gauge(scope, prefix + "config_reload_time_ms", reloaded, isUsed: reloads > 0)
        }
    }
}

extension ResourceKind {
    /// Where all of a kind are told of, and with what.
    func report(_ counters: SubscriptionCounters, to report: inout StatReport) {
        switch self {
        case .cluster:
            counters.report(.process, "cluster_manager.cds.", [.reloads, .reloadTime], to: &report)
        case .listener: counters.report(.process, "listener_manager.lds.", to: &report)
        default: break
        }
    }
}
