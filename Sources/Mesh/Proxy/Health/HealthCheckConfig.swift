/// When a host's active health checks run and what their results mean, with Envoy's defaults.
struct HealthCheckTiming: Hashable, Sendable {
    var timeout: Duration
    var interval: Duration
    /// Added to each interval at random, up to it.
    var intervalJitter = Duration.zero
    /// The same, in percent of the interval.
    var intervalJitterPercent: UInt32 = 0
    /// Before the first check, at random, up to it.
    var initialJitter = Duration.zero
    /// Failures in a row that make a host unhealthy. An answer that says so does it at once.
    var unhealthyThreshold: UInt32
    /// Successes in a row that make it healthy. The very first check needs one.
    var healthyThreshold: UInt32
    /// While the cluster never had a connection.
    var noTrafficInterval = Duration.seconds(60)
    /// The same for hosts that are healthy; nil is `noTrafficInterval`.
    var noTrafficHealthyInterval: Duration?
    /// Between checks of an unhealthy host; nil is `interval`.
    var unhealthyInterval: Duration?
    /// After a failure that may be the first of some; nil is `unhealthyInterval`.
    var unhealthyEdgeInterval: Duration?
    /// After a success that may be the first of some; nil is `interval`.
    var healthyEdgeInterval: Duration?

    init(timeout: Duration, interval: Duration, unhealthyThreshold: UInt32, healthyThreshold: UInt32) {
        self.timeout = timeout
        self.interval = interval
        self.unhealthyThreshold = unhealthyThreshold
        self.healthyThreshold = healthyThreshold
    }

    func validate() throws(BalanceConfigError) {
        for (name, duration) in [("timeout", timeout), ("interval", interval)] where duration <= .zero {
            throw BalanceConfigError("health_checks: \(name) must be above 0")
        }
        guard noTrafficInterval > .zero else {
            throw BalanceConfigError("health_checks: no_traffic_interval must be above 0")
        }
    }
}

/// The statuses that an HTTP health check takes for healthy, and for failures that may pass.
struct HTTPHealthExpectation: Hashable, Sendable {
    /// Half-open; exactly 200 when empty.
    var expected: [Range<Int>] = []
    /// Counted to `unhealthy_threshold` instead of making the host unhealthy at once.
    var retriable: [Range<Int>] = []
    /// Each must be in the body, in order.
    var receive = PayloadMatcher([])

    func validate() throws(BalanceConfigError) {
        for (name, ranges) in [("expected_statuses", expected), ("retriable_statuses", retriable)] {
            for range in ranges where range.isEmpty || range.lowerBound < 100 || range.upperBound > 600 {
                throw BalanceConfigError(
                    "http_health_check: \(name) [\(range.lowerBound), \(range.upperBound)) must be within [100, 600)")
            }
        }
    }

    /// What a response means. `isDegraded` and `failsImmediately` are its headers `x-envoy-degraded` and
    /// `x-envoy-immediate-health-check-fail`.
    func judge(status: Int, body: some Collection<UInt8>, isDegraded: Bool = false) -> HealthCheckResult {
        guard expected.isEmpty ? status == 200 : expected.contains(where: { $0.contains(status) }) else {
            return .failure(retriable.contains { $0.contains(status) } ? .retriable : .definite)
        }
        guard receive.matches(body) else { return .failure(.definite) }
        return .success(isDegraded: isDegraded)
    }
}

/// How one check ended.
enum HealthCheckResult: Hashable, Sendable {
    enum Failure: Hashable, Sendable {
        /// The host answered, and said that it is not healthy.
        case definite
        /// The host answered with one of `retriable_statuses`.
        case retriable
        /// No connection, or it broke.
        case network
        case timeout
        /// A response to an ordinary request said so (`x-envoy-immediate-health-check-fail`).
        case passive

        var isNetwork: Bool { self == .network || self == .timeout }
    }

    case success(isDegraded: Bool)
    case failure(Failure)
}
