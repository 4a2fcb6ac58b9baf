import Reactor

/// The one timer of a connection. Connections come and go and hardly any lives to see it: with its worker it waits for the next,
/// and so does what stands for it in the loop's wheel.
final class ConnectionTimer {
    /// nil while it waits.
    unowned(unsafe) var connection: ProxyConnection?
    private let loop: EventLoop
    private lazy var timer = LazyTimer(loop) { [unowned(unsafe) self] in connection?.terminal?.timerIsDue() }

    init(_ loop: EventLoop) { self.loop = loop }

    /// Nanoseconds of the monotonic clock.
    func set(_ deadline: UInt64) { timer.set(deadline) }
    func clear() { timer.clear() }
}
