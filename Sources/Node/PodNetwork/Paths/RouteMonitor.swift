import Netlink
import Reactor

/// The kernel's notifications about links, addresses, routes and neighbours, on a loop, and when to act on them.
final class RouteMonitor: @unchecked Sendable {
    // Used on its loop only.
    enum Notice {
        case event(RouteEvent)
        /// The kernel dropped some.
        case lost
        /// What came together has been handed over: now is the time to act on it, once for a burst.
        case settled
    }

    private let loop: EventLoop
    private let subscription: NetlinkSubscription
    private var monitor: NetlinkMonitor?
    private var deliver: (Notice) -> Void = { _ in }
    private var isSettling = false

    /// Listens from now on; what comes before `begin` waits.
    init(on loop: EventLoop) throws {
        self.loop = loop
        subscription = try NetlinkSubscription(
            .route,
            groups: [RouteGroup.link, .neighbour, .addressV4, .addressV6, .routeV4, .routeV6].map(\.rawValue))
    }

    func begin(_ deliver: @escaping (Notice) -> Void) throws {
        self.deliver = deliver
        monitor = try NetlinkMonitor(subscription, on: loop) { [unowned self] in
            take($0)
        } onFailure: {
            [unowned self] _ in
            take(.lost)
        }
    }

    private func take(_ notification: NetlinkNotification) {
        switch notification {
        case .message(let message):
            guard let event = RouteEvent(type: message.type, payload: message.payload) else { return }
            deliver(.event(event))
        case .lost: deliver(.lost)
        }
        guard !isSettling else { return }
        isSettling = true
        loop.submit { [weak self] in
            guard let self else { return }
            isSettling = false
            deliver(.settled)
        }
    }

    func close() {
        monitor?.close()
        monitor = nil
        deliver = { _ in }
    }
}
