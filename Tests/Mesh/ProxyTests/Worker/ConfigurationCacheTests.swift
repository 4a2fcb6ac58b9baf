import Reactor
import Testing

@testable import Proxy

@Suite("What a worker keeps for a configuration")
struct ConfigurationCacheTests {
    private final class Object {}

    @Test("is the same while the object lasts, and little more than that of the objects that there are")
    func bounded() {
        var cache = ConfigurationCache<Object, Int>()
        let lasting = (0..<40).map { _ in Object() }
        for (number, object) in lasting.enumerated() { #expect(cache.value(for: object) { number } == number) }
        for round in 0..<10_000 {
            let passing = Object()
            // It is often where the one before was.
            #expect(cache.value(for: passing) { round } == round)
            withExtendedLifetime(passing) {}
        }
        #expect(cache.count <= 2 * (lasting.count + 1))
        for (number, object) in lasting.enumerated() { #expect(cache.value(for: object) { -1 } == number) }
    }

    @Test("does not hold a remote key set")
    func keySet() async throws {
        let group = try EventLoopGroup(count: 1, name: "keys")
        let loop = group.all[0]
        let isGone = try await loop.perform {
            let worker = ProxyWorker(loop, index: 0)
            defer { worker.close() }
            weak var trace: RemoteKeySet?
            do {
                let set = RemoteKeySet(
                    CallTarget("keys", authority: "a", timeout: 1), path: "/", cacheDuration: 1,
                    refetchAfterFailure: nil)
                trace = set
                _ = worker.keys(set)
            }
            return trace == nil
        }
        #expect(isGone)
        await group.shutdown()
    }
}
