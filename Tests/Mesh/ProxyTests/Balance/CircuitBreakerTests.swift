import Synchronization
import Testing

@testable import Proxy

@Suite("Circuit breakers")
struct CircuitBreakerTests {
    @Test("the defaults are Envoy's")
    func defaults() {
        let breakers = CircuitBreakers()
        #expect(breakers.limit(.connections) == 1024 && breakers.limit(.pendingRequests) == 1024)
        #expect(breakers.limit(.requests) == 1024 && breakers.limit(.retries) == 3)
        #expect(breakers.limit(.connectionPools) == .max)
    }

    @Test("as many as are allowed are taken, for each priority apart", arguments: CircuitBreakers.Resource.allCases)
    func limits(resource: CircuitBreakers.Resource) {
        let thresholds = CircuitBreakerThresholds(
            maxConnections: 2, maxPendingRequests: 2, maxRequests: 2, maxRetries: 2, maxConnectionPools: 2)
        let breakers = CircuitBreakers(thresholds, high: thresholds)
        let taken = (0..<3).map { _ in breakers.take(resource) }
        #expect(taken == [true, true, false])
        let high = breakers.take(resource, .high)
        #expect(high)
        breakers.release(resource)
        let again = breakers.take(resource)
        #expect(again)
        #expect(breakers.count(resource) == 2 && breakers.count(resource, .high) == 1)
    }

    @Test("a limit of 0 lets nothing through")
    func zero() {
        let breakers = CircuitBreakers(CircuitBreakerThresholds(maxRetries: 0))
        #expect(!breakers.take(.retries))
        #expect(breakers.count(.retries) == 0)
    }

    @Test("a retry budget follows what is under way, and never falls below its minimum")
    func retryBudget() {
        let breakers = CircuitBreakers(CircuitBreakerThresholds(retryBudget: .init()))
        #expect(breakers.limit(.retries) == 3)
        for _ in 0..<80 { _ = breakers.take(.requests) }
        for _ in 0..<20 { _ = breakers.take(.pendingRequests) }
        #expect(breakers.limit(.retries) == 20)
        #expect(breakers.limit(.retries, .high) == 3)
    }

    @Test("gauges say what is open, and what remains where that is kept")
    func gauges() {
        let breakers = CircuitBreakers(
            CircuitBreakerThresholds(maxRequests: 2, tracksRemaining: true),
            high: CircuitBreakerThresholds(maxRequests: 0))
        _ = breakers.take(.requests)
        let usual = Dictionary(uniqueKeysWithValues: breakers.gauges(.default).map { ($0.name, $0.value) })
        #expect(usual["rq_open"] == 0 && usual["remaining_rq"] == 1 && usual["remaining_cx"] == 1024)
        let high = Dictionary(uniqueKeysWithValues: breakers.gauges(.high).map { ($0.name, $0.value) })
        #expect(high["rq_open"] == 1 && high["remaining_rq"] == 0 && high["remaining_cx"] == 0)
        #expect(
            Set(usual.keys) == [
                "cx_open", "rq_pending_open", "rq_open", "rq_retry_open", "cx_pool_open", "remaining_cx",
                "remaining_pending", "remaining_rq", "remaining_retries", "remaining_cx_pools",
            ])
    }

    @Test("workers together never have more than is allowed")
    func workers() async {
        let breakers = CircuitBreakers(CircuitBreakerThresholds(maxRequests: 5))
        let most = await withTaskGroup(of: Int.self) { group in
            let held = SharedCount()
            for _ in 0..<4 {
                group.addTask {
                    var most = 0
                    for _ in 0..<20_000 where breakers.take(.requests) {
                        most = max(most, held.value.wrappingAdd(1, ordering: .relaxed).newValue)
                        held.value.wrappingSubtract(1, ordering: .relaxed)
                        breakers.release(.requests)
                    }
                    return most
                }
            }
            return await group.reduce(0, max)
        }
        #expect(most >= 1 && most <= 5)
        #expect(breakers.count(.requests) == 0)
    }
}

private final class SharedCount: Sendable {
    let value = Atomic<Int>(0)
}
