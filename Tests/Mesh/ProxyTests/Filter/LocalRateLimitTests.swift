import Synchronization
import Testing

@testable import Proxy

@Suite("Local rate limit filter")
struct LocalRateLimitTests {
    private static let on =
        "filter_enabled: { default_value: { numerator: 100 } }, filter_enforced: { default_value: { numerator: 100 } }"

    @Test("requests beyond the bucket are turned away, and told by how much")
    func plain() async throws {
        let fields = """
            stat_prefix: rl, token_bucket: { max_tokens: 2, tokens_per_fill: 2, fill_interval: 3600s }, \(Self.on), enable_x_ratelimit_headers: DRAFT_VERSION_03, response_headers_to_add: [{ header: { key: x-limited, value: "1" } }]
            """
        let config = ProxyBench.http(
            filters: ProxyBench.filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", fields))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")], workers: 2) { bench in
            for (number, status) in [200, 200, 429].enumerated() {
                let answer = try await bench.exchange(FilterRow("GET /", status).text)
                #expect(answer.status == status)
                #expect(answer["x-ratelimit-limit"] == "2")
                #expect(answer["x-ratelimit-remaining"] == "\(max(0, 1 - number))")
                #expect((answer["x-limited"] != nil) == (status == 429))
            }
            #expect(await bench.counter("rl.http_local_rate_limit.enabled") == 3)
            #expect(await bench.counter("rl.http_local_rate_limit.ok") == 2)
            #expect(await bench.counter("rl.http_local_rate_limit.enforced") == 1)
        }
    }

    @Test("a descriptor has a bucket of its own besides the default one")
    func descriptors() async throws {
        let fields = """
            stat_prefix: rl, token_bucket: { max_tokens: 3, fill_interval: 3600s }, \(Self.on), rate_limits: [{ actions: [{ request_headers: { header_name: x-user, descriptor_key: user } }] }], descriptors: [{ entries: [{ key: user, value: greedy }], token_bucket: { max_tokens: 1, fill_interval: 3600s } }]
            """
        let config = ProxyBench.http(
            filters: ProxyBench.filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", fields))
        let rows = [
            FilterRow("GET /", "x-user: greedy\r\n", 200), FilterRow("GET /", "x-user: greedy\r\n", 429),
            FilterRow("GET /", "x-user: modest\r\n", 200), FilterRow("GET /", 200), FilterRow("GET /", 429),
        ]
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for (number, row) in rows.enumerated() {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(number): \(row)")
            }
        }
    }

    @Test("each connection has a bucket of its own where that is asked for")
    func perConnection() async throws {
        let fields = """
            stat_prefix: rl, token_bucket: { max_tokens: 1, fill_interval: 3600s }, \(Self.on), local_rate_limit_per_downstream_connection: true
            """
        let config = ProxyBench.http(
            filters: ProxyBench.filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", fields))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for _ in 0..<2 {
                let client = try await bench.client()
                for status in [200, 429] {
                    try await client.send(FilterRow("GET /", status).text)
                    let answer = try await client.response()
                    #expect(answer.status == status)
                }
            }
        }
    }

    @Test("a bucket gives what it holds, and what came since, and never more")
    func bucket() {
        let second: UInt64 = 1_000_000_000
        let bucket = TokenBucket(capacity: 3, refill: 1, interval: second)
        var now = 1000 * second
        #expect(bucket.tokens(now: now) == 3)
        for _ in 0..<3 { #expect(bucket.take(now: now)) }
        #expect(!bucket.take(now: now))
        #expect(bucket.secondsToNext(now: now) == 1)
        now += second / 2
        #expect(!bucket.take(now: now))
        now += second / 2
        #expect(bucket.take(now: now) && !bucket.take(now: now))
        now += 100 * second
        #expect(bucket.tokens(now: now) == 3)
    }

    @Test("threads that take from one bucket at once get as many tokens as there were")
    func shared() async {
        let bucket = TokenBucket(capacity: 10_000, refill: 1, interval: 3_600_000_000_000)
        let taken = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 { group.addTask { (0..<5000).count { _ in bucket.take(now: 1 << 50) } } }
            return await group.reduce(0, +)
        }
        #expect(taken == 10_000)
    }
}
