import Reactor
import NodeTables
import Testing

@testable import ServiceProxy

@Suite("When the proxy writes")
struct SyncPaceTests {
    private static let start = MonotonicTime.now()

    /// What the last write took, how long ago it ended, what is configured; and the wait.
    struct Row: Sendable {
        var took: Duration
        var ago: Duration
        var fixed: Duration?
        var wait: Duration
    }

    static let rows = [
        Row(took: .microseconds(500), ago: .zero, wait: .milliseconds(2)),
        Row(took: .microseconds(500), ago: .milliseconds(1), wait: .milliseconds(1)),
        Row(took: .microseconds(500), ago: .milliseconds(2), wait: .zero),
        Row(took: .seconds(1), ago: .zero, wait: SyncPace.longest),
        Row(took: .microseconds(500), ago: .milliseconds(100), fixed: .milliseconds(250), wait: .milliseconds(150)),
        Row(took: .seconds(1), ago: .milliseconds(100), fixed: .milliseconds(50), wait: .zero),
    ]

    @Test("a write is followed by a rest of four times its length, or the configured one", arguments: rows)
    func rest(row: Row) {
        var pace = SyncPace(fixed: row.fixed)
        pace.wrote(until: Self.start, taking: row.took)
        #expect(pace.delay(at: Self.start.adding(row.ago)) == row.wait)
    }

    @Test("the first change of all does not wait")
    func first() { #expect(SyncPace(fixed: .seconds(1)).delay(at: Self.start) == .zero) }
}
