import Bytes
import Reactor

// How the proxy goes: what runs may end, what comes is asked to come elsewhere, and one deadline holds for all.
extension ProxyServer {
    /// How long clients may still come after they were told to go: what they had sent by then is served.
    static let drainNotice = Duration.seconds(1)
    /// How long those that came last may take to say what they want.
    static let firstRequest = Duration.milliseconds(200)

    /// Lets requests end. At first nothing is refused: answers say `connection: close`, HTTP/2 clients are told to open no more
    /// streams, health checks fail. Then listeners and idle connections close, and what spans wait are sent. Returns when no
    /// connection is left, or at the deadline; what is left then is for `close()` to cut.
    ///
    /// - Returns: How many connections are left.
    package func drain(within deadline: Duration) async -> Int {
        state = .draining
        let end = MonotonicTime.now().adding(deadline)
        let all = listeners.values.flatMap { zip(workers, $0).map(\.self) }
        for worker in workers { try? await worker.loop.perform { worker.failsHealthChecks = true } }
        for (worker, listener) in all { try? await worker.loop.perform { listener.value.announceDrain() } }
        if await openConnections(all) > 0 { try? await clusters.loop.sleep(for: min(Self.drainNotice, deadline)) }
        // All of them first: a client that one has turned away must not find another that goes next.
        for (worker, listener) in all { try? await worker.loop.perform { listener.value.leaveBalance() } }
        for (worker, listener) in all { try? await worker.loop.perform { listener.value.leave() } }
        if await openConnections(all) > 0 { _ = await pause(before: end, for: Self.firstRequest) }
        for (worker, listener) in all { try? await worker.loop.perform { listener.value.finishDrain() } }
        var open = await openConnections(all)
        while open > 0, await pause(before: end) { open = await openConnections(all) }
        // What is told of the last requests, too.
        while await areSpansWaiting(), await pause(before: end) {}
        return open
    }

    /// False at the deadline.
    private func pause(before end: MonotonicTime, for time: Duration = .milliseconds(20)) async -> Bool {
        let now = MonotonicTime.now()
        guard now < end else { return false }
        try? await clusters.loop.sleep(for: min(time, end.duration(since: now)))
        return true
    }

    private func areSpansWaiting() async -> Bool {
        var isAny = false
        for worker in workers where (try? await worker.loop.perform({ worker.flushSpans() })) == true { isAny = true }
        return isAny
    }

    private func openConnections(_ all: [(ProxyWorker, ProxyListenerReference)]) async -> Int {
        var open = 0
        for (worker, listener) in all {
            open += (try? await worker.loop.perform { listener.value.connectionCount }) ?? 0
        }
        return open
    }

    /// `/drain_listeners`: lets connections end; each is asked to go after its present request.
    ///
    /// - Parameters:
    ///   - graceful: Listeners take connections until the drain time is over; otherwise they close at once.
    ///   - keepsListeners: They are never closed.
    ///   - inboundOnly: Only listeners that say to be inbound.
    package func drainListeners(graceful: Bool, keepsListeners: Bool, inboundOnly: Bool) async {
        let names = listeners.keys.filter { !inboundOnly || isInbound($0) }
        ProxyLog.info(.main, "draining \(names.count) listeners\(graceful ? " gracefully" : "")")
        for name in names {
            for (worker, listener) in zip(workers, listeners[name] ?? []) {
                try? await worker.loop.perform { listener.value.announceDrain() }
            }
        }
        guard !keepsListeners else { return }
        guard graceful, options.drainTime > .zero, let loop = workers.first?.loop else {
            return await stopListening(names)
        }
        let time = options.drainTime
        loop.task { [weak self] in
            try? await loop.sleep(for: time)
            await self?.stopListening(names)
        }
    }

    private func stopListening(_ names: [String]) async {
        for name in names {
            for (worker, listener) in zip(workers, listeners[name] ?? []) {
                try? await worker.loop.perform { listener.value.close() }
            }
        }
    }

    private func isInbound(_ name: String) -> Bool {
        guard let message = try? (resources[.listener, name] ?? dynamic[.listener, name])?.message() else {
            return false
        }
        return message.json()["traffic_direction"]?.string == "INBOUND"
    }
}
