import XDS

/// Which statistics are told, and what Prometheus is told with each (`envoy.config.metrics.v3.StatsConfig`).
struct StatSettings: Sendable {
    private enum Choice { case all, none, only([StringMatcher]), allBut([StringMatcher]) }
    private var choice = Choice.all
    /// Labels of every series (`stats_tags` with `fixed_value`).
    private(set) var labels: [(name: String, value: String)] = []

    init() {}

    init(_ node: ConfigNode) throws(ConfigError) {
        for tag in node.messages("stats_tags") {
            guard tag.choice("tag_value") == "fixed_value" else {
                throw tag.error(
                    "only fixed_value is supported: labels come from what a statistic is of, not from its text")
            }
            labels.append((tag.string("tag_name"), tag.string("fixed_value")))
        }
        guard node.bool("use_all_default_tags", default: true) else { throw node.unsupported("use_all_default_tags") }
        guard let matcher = node.message("stats_matcher") else { return }
        func patterns(_ field: String) throws(ConfigError) -> [StringMatcher] {
            try matcher.message(field)?.messages("patterns") { (node) throws(ConfigError) in
                try StringMatcher(node)
            } ?? []
        }
        switch matcher.choice("stats_matcher") {
        case "reject_all": choice = matcher.bool("reject_all") ? .none : .all
        case "inclusion_list": choice = .only(try patterns("inclusion_list"))
        default: choice = .allBut(try patterns("exclusion_list"))
        }
    }

    private func tells(_ name: String) -> Bool {
        switch choice {
        case .all: true
        case .none: false
        case .only(let patterns): patterns.contains { $0.matches(name) }
        case .allBut(let patterns): !patterns.contains { $0.matches(name) }
        }
    }

    func apply(to report: inout StatReport) {
        report.labels = labels
        if case .all = choice { return }
        report.samples.removeAll { !tells($0.name) }
        report.histograms.removeAll { !tells($0.name) }
        report.texts.removeAll { !tells($0.name) }
    }
}
