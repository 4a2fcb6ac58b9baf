import Bytes
import Reactor
import TLS

/// The proxies of this process: a few connect at a time, and when all have everything each change that has reached all is told by
/// a line with the time. Belongs to one loop.
final class SimulatedFleet: @unchecked Sendable {
    // Proof for `@unchecked`: touched on `loop` only.

    /// Proxies that connect at the same time: so many that both processes have work, so few that what is queued for those that wait is
    /// not taken for what a proxy costs.
    private static let atOnce = 8

    /// Set when one of them failed.
    let over = Promise<Void>()
    private let subscription: Subscription
    private let address: SocketAddress
    private let tls: TLSContext?
    private let count: Int
    private let loop: EventLoop
    private var proxies: [SimulatedProxy] = []
    private var ready = 0
    private var told = 0

    init(_ subscription: Subscription, _ address: SocketAddress, _ tls: TLSContext?, _ count: Int, _ loop: EventLoop) {
        (self.subscription, self.address, self.tls, self.count, self.loop) = (subscription, address, tls, count, loop)
    }

    func launch() {
        while proxies.count < count, proxies.count - ready < Self.atOnce {
            do {
                let proxy = try SimulatedProxy(
                    subscription, name: "sidecar~web-\(proxies.count).shop", tls: tls,
                    ready: { [self] in isReady($0) },
                    told: { [self] kind in if kind == Subscription.endpoints || kind == Subscription.routes { isTold() }
                    })
                proxies.append(proxy)
                try proxy.connect(to: address, on: loop)
            } catch { return over.fail(error) }
        }
    }

    private func isReady(_ result: Result<Void, any Error>) {
        if case .failure(let error) = result { return over.fail(error) }
        ready += 1
        if ready.isMultiple(of: 100) { note("\(ready) of \(count) proxies have the mesh") }
        if ready == count { say("ready") } else { launch() }
    }

    private func isTold() {
        told += 1
        if told.isMultiple(of: count) { say("\(monotonic())") }
    }
}
