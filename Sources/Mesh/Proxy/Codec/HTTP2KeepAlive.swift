import Reactor
import XDS

/// HTTP/2's own probe of a connection (`connection_keepalive`): a PING after each interval, and the end where the peer says
/// nothing within the time-out. Any byte of the peer is an answer: it lives. Belongs to one loop.
final class HTTP2KeepAlive {
    /// Nanoseconds.
    struct Options: Sendable, Equatable {
        /// 0 for no probes of their own accord.
        var interval: UInt64
        var timeout: UInt64
        /// Of the interval, in percent: up to so much is added at random.
        var jitter: Double
        /// A connection that rested longer is probed before its next request is waited for; 0 for none.
        var idleInterval: UInt64

        /// A `core.v3.KeepaliveSettings`.
        init(_ node: ConfigNode) throws(ConfigError) {
            interval = node.nanoseconds("interval", default: 0)
            timeout = node.nanoseconds("timeout", default: 0)
            guard timeout > 0 else { throw node.error("timeout", "must be above 0") }
            jitter = node.percent("interval_jitter") ?? 15
            idleInterval = node.nanoseconds("connection_idle_interval", default: 0)
        }
    }

    private let options: Options
    private unowned let worker: ProxyWorker
    private let ping: () -> Void
    private var timer: LazyTimer?
    private var isWaiting = false
    private var heardAt: UInt64

    /// - Parameters:
    ///   - ping: sends one.
    ///   - end: nobody is there any more.
    init(_ options: Options, _ worker: ProxyWorker, ping: @escaping () -> Void, end: @escaping () -> Void) {
        self.options = options
        self.worker = worker
        self.ping = ping
        heardAt = worker.now
        timer = LazyTimer(worker.loop) { [unowned self] in
            guard !isWaiting else { return end() }
            probe()
        }
        rest()
    }

    private func rest() {
        guard options.interval > 0 else { return timer?.clear() ?? () }
        let most = UInt64(Double(options.interval) * options.jitter / 100)
        timer?.set(worker.now &+ options.interval &+ (most > 0 ? worker.random.next(upperBound: most) : 0))
    }

    private func probe() {
        isWaiting = true
        timer?.set(worker.now &+ options.timeout)
        ping()
        worker.flush()
    }

    /// The peer has said something.
    func heard() {
        heardAt = worker.now
        guard isWaiting else { return }
        isWaiting = false
        timer?.clear()
        rest()
    }

    /// A request goes out over a connection that had none.
    func resumes() {
        guard options.idleInterval > 0, !isWaiting, worker.now &- heardAt >= options.idleInterval else { return }
        probe()
    }

    func close() { timer?.clear() }
}
