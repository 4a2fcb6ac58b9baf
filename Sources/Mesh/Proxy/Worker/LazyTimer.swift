import Reactor

/// A time-out that moves with every request and hardly ever fires: setting it is a store.
///
/// The wheel's timer stands at an earlier or the same moment; when that comes it is put to the deadline of then. So a
/// connection with a thousand requests a second touches the wheel once in each time-out. On its loop only.
package final class LazyTimer {
    package static let never = UInt64.max

    private let loop: EventLoop
    private let fire: () -> Void
    /// Nanoseconds of the monotonic clock.
    package private(set) var deadline = LazyTimer.never
    private var armed = LazyTimer.never
    private var handle = TimerHandle.none
    private lazy var body: () -> Void = { [unowned self] in due() }

    /// `fire` is called on the loop once the deadline has passed; it may set the next.
    package init(_ loop: EventLoop, _ fire: @escaping () -> Void) {
        self.loop = loop
        self.fire = fire
    }

    deinit { if armed != Self.never { loop.cancel(handle) } }

    @inline(__always)
    package func set(_ deadline: UInt64) {
        self.deadline = deadline
        if deadline < armed { arm(deadline) }
    }

    @inline(__always)
    package func clear() { deadline = Self.never }

    private func arm(_ moment: UInt64) {
        if armed != Self.never { loop.cancel(handle) }
        armed = moment
        let now = loop.now.nanoseconds
        handle = loop.schedule(after: .nanoseconds(Int64(clamping: moment > now ? moment - now : 0)), body)
    }

    private func due() {
        armed = Self.never
        guard deadline != Self.never else { return }
        guard deadline <= MonotonicTime.now().nanoseconds else { return arm(deadline) }
        deadline = Self.never
        fire()
    }
}
