import Netlink
import Reactor

/// The kernel's notifications about links, addresses, routes and neighbours, on a loop.
final class RouteMonitor: PollHandler, @unchecked Sendable {
    // Called on its loop only.
    enum Notice {
        case event(RouteEvent)
        /// The kernel dropped some.
        case lost
        /// What waited has been handed over: now is the time to act on it, once for a burst.
        case settled
    }

    private let loop: EventLoop
    private let subscription: NetlinkSubscription
    private var registration: Registration?
    private var deliver: (Notice) -> Void = { _ in }

    /// Listens from now on; what comes before `begin` waits.
    init(on loop: EventLoop) throws {
        self.loop = loop
        subscription = try NetlinkSubscription(
            .route,
            groups: [RouteGroup.link, .neighbour, .addressV4, .addressV6, .routeV4, .routeV6].map(\.rawValue))
        super.init()
    }

    func begin(_ deliver: @escaping (Notice) -> Void) throws {
        self.deliver = deliver
        registration = try loop.register(fd: subscription.descriptor, handler: self, interest: .readable)
        ready(.readable)
    }

    override func ready(_ events: PollEvents) {
        var isDrained = false
        while !isDrained {
            do {
                isDrained = try subscription.drain { notification in
                    switch notification {
                    case .message(let message):
                        if let event = RouteEvent(type: message.type, payload: message.payload) {
                            deliver(.event(event))
                        }
                    case .lost: deliver(.lost)
                    }
                }
            } catch {
                // A netlink socket breaks only by memory pressure; what it said meanwhile is lost, and is read again.
                deliver(.lost)
                isDrained = true
            }
            deliver(.settled)
        }
    }

    func close() {
        if let registration { loop.deregister(registration) }
        registration = nil
        deliver = { _ in }
    }
}
