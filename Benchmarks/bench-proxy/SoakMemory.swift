import Reactor

/// What a soaking proxy holds, once a minute after the first: it is to end where it began.
struct SoakMemory: Sendable {
    /// Kilobytes of its own, and seconds from the start.
    struct Sample: Sendable {
        var second: Int
        var resident: Int
    }

    private(set) var samples: [Sample] = []
    let interval: Int

    /// Kilobytes by which an allocator's pages move without a cause that would add up.
    static let allowance = 128
    /// Seconds in which something that adds up can be told from what does not.
    static let leastSeconds = 240

    /// In shorter runs a fifth of the time stands for a minute.
    init(seconds: Int) { interval = max(min(60, seconds / 5), 1) }

    /// Samples until there is no time for another.
    mutating func watch(_ proxy: RunningProcess, seconds: Int, _ say: (String) -> Void) async throws {
        let start = MonotonicTime.now()
        for number in 1... where number * interval <= seconds {
            let now = MonotonicTime.now().duration(since: start)
            if .seconds(number * interval) > now { try await proxy.loop.sleep(for: .seconds(number * interval) - now) }
            samples.append(Sample(second: number * interval, resident: try await Self.least(proxy)))
            say("# after \(number * interval) s: \(samples[number - 1].resident) KB")
            if (number + 1) * interval > seconds { return }
        }
    }

    /// The least of two seconds: without what is only passing through.
    static func least(_ proxy: RunningProcess) async throws -> Int {
        var least = try proxy.resident.own
        for _ in 0..<20 {
            try await proxy.loop.sleep(for: .milliseconds(100))
            least = min(least, try proxy.resident.own)
        }
        return least
    }

    /// Notes what it holds when nobody asks any more.
    mutating func end(_ proxy: RunningProcess, seconds: Int) async throws {
        samples.append(Sample(second: seconds, resident: try await Self.least(proxy)))
    }

    var start: Int { samples.first?.resident ?? 0 }
    var end: Int { samples.last?.resident ?? 0 }

    /// Why this is no memory that ends where it began; nil when it does, or the run was too short to tell.
    var failure: String? {
        guard let last = samples.last, last.second >= Self.leastSeconds, last.resident > start + Self.allowance else {
            return nil
        }
        return "its memory grew from \(start) to \(last.resident) KB, by more than \(Self.allowance) KB"
    }
}
