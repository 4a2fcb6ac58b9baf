import Reactor

/// One row on both sides: what each saw, and where they differ.
struct Verdict {
    let oracle: [String]
    let subject: [String]
    /// The subject must refuse here what the oracle lets pass.
    var mustRefuse = false
    /// HTTP/2 may refuse without an answer.
    var isHTTP2 = false

    var agrees: Bool {
        guard mustRefuse else { return oracle == subject }
        let isRefused =
            isHTTP2
            ? !subject.contains { $0.hasPrefix("client     :status: 2") }
            : subject.contains { $0.hasPrefix("client   HTTP/1.1 4") || $0.hasPrefix("client   HTTP/1.1 5") }
        // What reached an upstream before the fault was seen must be cut short there.
        return isRefused && subject.contains { $0.contains("connection closed") }
    }

    /// Both sides line by line; what only one has is marked.
    var description: String {
        let difference = subject.difference(from: oracle)
        var removed: Set<Int> = []
        var inserted: Set<Int> = []
        for change in difference {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): inserted.insert(offset)
            }
        }
        var lines: [String] = []
        var (left, right) = (0, 0)
        while left < oracle.count || right < subject.count {
            if removed.contains(left) {
                lines.append("- \(oracle[left])")
                left += 1
            } else if inserted.contains(right) {
                lines.append("+ \(subject[right])")
                right += 1
            } else {
                lines.append("  \(oracle[left])")
                left += 1
                right += 1
            }
        }
        return lines.joined(separator: "\n")
    }
}

/// Plays rows on two stages at once and compares.
struct Judge {
    let oracle: Stage
    let subject: Stage

    /// A connection is called open when it is still so after this long while the other side's is open too.
    private static let quiet = Duration.milliseconds(40)
    /// How long one side may end its connection later than the other.
    private static let lateness = Duration.seconds(5)

    func judge(_ row: Row) async throws -> Verdict {
        let before = row.stats.isEmpty ? nil : try await stats(row.stats)
        async let first = oracle.perform(row)
        async let second = subject.perform(row)
        let (left, right) = try await (first, second)
        try await awaitSameEnd(left, right)
        async let firstLines = oracle.finish(left, row)
        async let secondLines = subject.finish(right, row)
        var lines = try await (oracle: firstLines, subject: secondLines)
        if let before {
            let change = try await changes(since: before, row.stats)
            lines.oracle += change.oracle
            lines.subject += change.subject
        }
        func kept(_ lines: [String]) -> [String] {
            lines.filter { line in !row.ignored.contains { line.contains($0) } }
        }
        return Verdict(
            oracle: kept(lines.oracle), subject: kept(lines.subject),
            mustRefuse: row.stricter != nil && !Contestants.provesItself, isHTTP2: row.isHTTP2)
    }

    private func awaitSameEnd(_ left: Stage.Performance, _ right: Stage.Performance) async throws {
        let start = MonotonicTime.now()
        _ = try await holds(within: Self.lateness, on: oracle.loop) {
            let standing = try await (oracle.standing(left), subject.standing(right))
            switch standing {
            case (.ended, .ended): return true
            case (.open, .open): return MonotonicTime.now() >= start.adding(Self.quiet)
            default: return false
            }
        }
    }

    private typealias Counters = (oracle: [String: Int], subject: [String: Int])

    private func stats(_ names: [String]) async throws -> Counters {
        async let left = oracle.stats(names)
        async let right = subject.stats(names)
        return try await (left, right)
    }

    /// The counters' changes once both sides agree, or after a while.
    private func changes(since before: Counters, _ names: [String]) async throws -> (
        oracle: [String], subject: [String]
    ) {
        func lines(_ now: [String: Int], _ then: [String: Int]) -> [String] {
            // Envoy makes many counters at their first use: what is not there is zero.
            names.map { "stat     \($0) \((now[$0] ?? 0) - (then[$0] ?? 0))" }
        }
        var result: (oracle: [String], subject: [String]) = ([], [])
        _ = try await holds(within: .seconds(3), on: oracle.loop) {
            let now = try await stats(names)
            result = (lines(now.oracle, before.oracle), lines(now.subject, before.subject))
            return result.oracle == result.subject
        }
        return result
    }
}
