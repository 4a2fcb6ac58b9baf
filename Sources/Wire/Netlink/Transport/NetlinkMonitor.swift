public import Reactor

/// A subscription on an event loop: what others change, told as it happens, in the loop's turns.
public final class NetlinkMonitor: PollHandler, @unchecked Sendable {
    // Everything here is touched on the loop alone; see `PollHandler`.
    private let loop: EventLoop
    private let subscription: NetlinkSubscription
    private var registration = Registration.none
    private let onNotification: (NetlinkNotification) -> Void
    private let onFailure: (NetlinkError) -> Void

    /// On the loop. `onNotification` sees messages in place. After `onFailure` nothing more comes.
    public init(
        _ subscription: NetlinkSubscription, on loop: EventLoop,
        onNotification: @escaping (NetlinkNotification) -> Void,
        onFailure: @escaping (NetlinkError) -> Void
    ) throws {
        self.loop = loop
        self.subscription = subscription
        self.onNotification = onNotification
        self.onFailure = onFailure
        super.init()
        registration = try loop.register(fd: subscription.descriptor, handler: self, interest: .readable)
    }

    override public func ready(_ events: PollEvents) {
        guard registration != .none else { return }
        do throws(NetlinkError) {
            // Edge-triggered: what was left over in a burst must be asked for.
            if try !subscription.drain(onNotification) { loop.again(self) }
        } catch {
            close()
            onFailure(error)
        }
    }

    /// On the loop. Nothing more is told.
    public func close() {
        loop.deregister(registration)
        registration = .none
    }
}
