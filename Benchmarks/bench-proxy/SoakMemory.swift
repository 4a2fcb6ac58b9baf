import Bytes
import HTTP
import Reactor

/// What a soaking proxy holds, once a minute: it is to end where it stood when it was warm.
///
/// Warm it is after a sixth of the time: until then its records of the last requests, its histograms and its buffers fill.
///
/// That is judged by what it has allocated, which its admin page tells: pages that the allocator keeps move by what lay where
/// when they were asked for, and say nothing of what is held. Both are told.
struct SoakMemory: Sendable {
    /// Kilobytes, and seconds from the start.
    struct Sample: Sendable {
        var second: Int
        /// Pages of its own.
        var resident: Int
        /// Allocated and not given back; nil of a proxy that does not tell.
        var allocated: Int?

        /// What is judged.
        var held: Int { allocated ?? resident }
        var text: String { "\(resident) KB resident" + (allocated.map { ", \($0) KB allocated" } ?? "") }
    }

    private(set) var samples: [Sample] = []
    let interval: Int
    private let adminPort: UInt16

    /// Kilobytes by which what is held moves without a cause that would add up.
    static let allowance = 128
    /// Seconds in which something that adds up can be told from what does not.
    static let leastSeconds = 240

    /// In shorter runs a fifth of the time stands for a minute.
    init(seconds: Int, adminPort: UInt16) {
        interval = max(min(60, seconds / 5), 1)
        self.adminPort = adminPort
    }

    /// Samples until there is no time for another.
    mutating func watch(_ proxy: RunningProcess, seconds: Int, _ say: (String) -> Void) async throws {
        let start = MonotonicTime.now()
        for number in 1... where number * interval <= seconds {
            let now = MonotonicTime.now().duration(since: start)
            if .seconds(number * interval) > now { try await proxy.loop.sleep(for: .seconds(number * interval) - now) }
            let sample = try await sample(proxy, number * interval)
            samples.append(sample)
            say("# after \(sample.second) s: \(sample.text)")
            if (number + 1) * interval > seconds { return }
        }
    }

    /// The least of two seconds: without what is only passing through.
    private func sample(_ proxy: RunningProcess, _ second: Int) async throws -> Sample {
        let client = HTTPEndpoint(.ip(.loopbackV4, Port(adminPort)), isSecure: false).map {
            HTTPClient(on: proxy.loop, endpoint: $0, tls: nil)
        }
        var least = Sample(second: second, resident: try proxy.resident.own, allocated: nil)
        for _ in 0..<20 {
            try await proxy.loop.sleep(for: .milliseconds(100))
            least.resident = min(least.resident, try proxy.resident.own)
            guard let found = try? await Self.allocated(client) else { continue }
            least.allocated = min(least.allocated ?? found, found)
        }
        return least
    }

    /// From Envoy's page `/memory`; nil when it is none.
    private static func allocated(_ client: HTTPClient?) async throws -> Int? {
        guard let answer = try await client?.request("GET", "/memory", timeout: .seconds(2)), answer.status == 200
        else {
            return nil
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        guard let name = text.firstRange(of: "\"allocated\"") else { return nil }
        let digits = text[name.upperBound...].drop { !$0.isNumber }.prefix { $0.isNumber }
        return Int(digits).map { $0 / 1024 }
    }

    /// Notes what it holds when nobody asks any more.
    mutating func end(_ proxy: RunningProcess, seconds: Int) async throws {
        samples.append(try await sample(proxy, seconds))
    }

    private var warm: Sample? { samples.first { $0.second * 6 >= samples.last?.second ?? 0 } }

    var summary: String {
        guard let first = samples.first, let warm, let last = samples.last else { return "nothing" }
        return "\(first.text) after \(first.second) s; \(warm.text) after \(warm.second) s; \(last.text) at the end"
    }

    /// Why this is no memory that ends where it stood when it was warm; nil when it does, or the run was too short to tell.
    var failure: String? {
        guard let warm, let last = samples.last, last.second >= Self.leastSeconds,
            last.held > warm.held + Self.allowance
        else { return nil }
        return "its memory grew by more than \(Self.allowance) KB: \(summary)"
    }
}
