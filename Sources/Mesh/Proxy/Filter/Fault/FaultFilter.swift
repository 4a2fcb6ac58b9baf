import HTTP
import Reactor
import Synchronization
import TLS

/// Delays requests, answers them itself and slows responses down, for a part of the requests (`envoy.filters.http.fault`).
package final class FaultFilter: Sendable {
    /// Where a fault's measure comes from.
    enum Source<Value: Sendable>: Sendable {
        case fixed(Value)
        /// From the request's own `x-envoy-fault-…` fields.
        case header
    }

    enum Abort: Sendable {
        case http(Int)
        case grpc(Int)
    }

    struct Settings: Sendable {
        /// Nanoseconds.
        var delay: Source<UInt64>?
        var delayPart = RuntimeFraction.never
        var abort: Source<Abort>?
        var abortPart = RuntimeFraction.never
        /// KiB a second, of response bodies.
        var rate: Source<UInt64>?
        var ratePart = RuntimeFraction.never
        /// All of them must match.
        var headers: [HeaderMatcher] = []
        var nodes: [[UInt8]] = []
        var cluster: ClusterID?
        var maximumActive = Int.max
    }

    struct Counters: Sendable {
        var delays, aborts, slowed, overflows: CounterID
    }

    let settings: Settings
    let counters: Counters
    /// Faults of all workers that are going on.
    let active = Atomic<Int>(0)

    init(_ settings: Settings, _ counters: Counters) {
        self.settings = settings
        self.counters = counters
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var policy = self
        if case .fault(let other)? = stream.settings(slot) { policy = other }
        guard policy.applies(stream) else { return .proceed }
        policy.slowDown(stream, slot, counters)
        if let delay = policy.delay(stream), policy.begin(stream, slot, counters) {
            stream.worker.count(counters.delays)
            stream.responseFlags.insert(.delayInjected)
            let (id, counters) = (stream.id, counters)
            policy.state(stream, slot).timer = stream.worker.loop.schedule(after: .nanoseconds(Int64(clamping: delay)))
            {
                [unowned stream] in
                guard stream.id == id, !stream.isOver else { return }
                let worker = stream.worker
                policy.state(stream, slot).timer = nil
                if !policy.abort(stream, slot, counters) { stream.resumeRequest() }
                worker.flush()
            }
            return .pause
        }
        return policy.abort(stream, slot, counters) ? .replied : .proceed
    }

    private func applies(_ stream: HTTPStream) -> Bool {
        if let cluster = settings.cluster {
            guard case .forward(let action)? = stream.route?.action,
                stream.clusterID(action.choice) == cluster
            else { return false }
        }
        guard settings.headers.allSatisfy({ $0.matches(stream.request) }) else { return false }
        guard !settings.nodes.isEmpty else { return true }
        guard let node = stream.request.value(FaultHeader.downstreamNode) else { return false }
        return settings.nodes.contains { node.elementsEqual($0) }
    }

    private func delay(_ stream: HTTPStream) -> UInt64? {
        switch settings.delay {
        case nil: return nil
        case .fixed(let delay):
            return delay > 0 && settings.delayPart.happens(stream.worker) ? delay : nil
        case .header:
            guard let delay = stream.request.value(FaultHeader.delay)?.decimal, delay > 0,
                settings.delayPart.limited(by: FaultHeader.delayPart, stream).happens(stream.worker)
            else { return nil }
            return UInt64(delay).multipliedReportingOverflow(by: 1_000_000).partialValue
        }
    }

    /// True when the client has its answer.
    private func abort(_ stream: HTTPStream, _ slot: Int, _ counters: Counters) -> Bool {
        guard let abort = wantedAbort(stream), begin(stream, slot, counters) else { return false }
        stream.worker.count(counters.aborts)
        let (status, grpc): (Int, Int?) =
            switch abort {
            case .http(let status): (status, nil)
            // Envoy's answer to plain HTTP says 200 then, with the usual body.
            case .grpc(let code): (200, code)
            }
        let body: StaticString = "fault filter abort"
        stream.reply(
            status, body: body.bytes, flag: .faultInjected, details: "fault_filter_abort", grpcStatus: grpc)
        return true
    }

    private func wantedAbort(_ stream: HTTPStream) -> Abort? {
        switch settings.abort {
        case nil: return nil
        case .fixed(let abort): return settings.abortPart.happens(stream.worker) ? abort : nil
        case .header:
            let part = settings.abortPart.limited(by: FaultHeader.abortPart, stream)
            guard part.happens(stream.worker) else { return nil }
            if let status = stream.request.value(FaultHeader.abort)?.decimal, (200..<600).contains(status) {
                return .http(Int(status))
            }
            return stream.request.value(FaultHeader.grpcAbort)?.decimal.flatMap { Int(exactly: $0) }.map { .grpc($0) }
        }
    }

    /// Counts the stream among those with a fault. False when there are too many.
    private func begin(_ stream: HTTPStream, _ slot: Int, _ counters: Counters) -> Bool {
        let state = state(stream, slot)
        guard state.active == nil else { return true }
        guard active.wrappingAdd(1, ordering: .relaxed).newValue <= settings.maximumActive else {
            active.wrappingSubtract(1, ordering: .relaxed)
            stream.worker.count(counters.overflows)
            return false
        }
        state.active = self
        return true
    }

    // MARK: Slow responses

    private func slowDown(_ stream: HTTPStream, _ slot: Int, _ counters: Counters) {
        let rate: UInt64
        switch settings.rate {
        case nil: return
        case .fixed(let fixed):
            guard settings.ratePart.happens(stream.worker) else { return }
            rate = fixed
        case .header:
            guard let wanted = stream.request.value(FaultHeader.rate)?.decimal, wanted > 0,
                settings.ratePart.limited(by: FaultHeader.ratePart, stream).happens(stream.worker)
            else { return }
            rate = UInt64(wanted)
        }
        guard begin(stream, slot, counters) else { return }
        stream.worker.count(counters.slowed)
        state(stream, slot).pacer = ResponsePacer(stream, slot, kibibytesPerSecond: rate)
    }

    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let pacer = (stream.filterState[slot] as? State)?.pacer else { return true }
        pacer.pass(&piece)
        return true
    }

    func responseTrailers(_ stream: HTTPStream, _ slot: Int) -> Bool {
        guard let pacer = (stream.filterState[slot] as? State)?.pacer else { return true }
        return pacer.passTrailers()
    }

    func ended(_ stream: HTTPStream, _ slot: Int) {
        guard let state = stream.filterState[slot] as? State else { return }
        if let timer = state.timer { stream.worker.loop.cancel(timer) }
        state.pacer?.stop()
        state.active?.active.wrappingSubtract(1, ordering: .relaxed)
    }

    // MARK: State

    private final class State {
        var timer: TimerHandle?
        var pacer: ResponsePacer?
        /// Whose limit of active faults the stream counts for.
        var active: FaultFilter?
    }

    private func state(_ stream: HTTPStream, _ slot: Int) -> State {
        if let state = stream.filterState[slot] as? State { return state }
        let state = State()
        stream.filterState[slot] = state
        return state
    }
}

/// The fields by which a request says what is to go wrong with it.
enum FaultHeader {
    static let abort = HeaderKey("x-envoy-fault-abort-request")
    static let grpcAbort = HeaderKey("x-envoy-fault-abort-grpc-request")
    static let abortPart = HeaderKey("x-envoy-fault-abort-request-percentage")
    static let delay = HeaderKey("x-envoy-fault-delay-request")
    static let delayPart = HeaderKey("x-envoy-fault-delay-request-percentage")
    static let rate = HeaderKey("x-envoy-fault-throughput-response")
    static let ratePart = HeaderKey("x-envoy-fault-throughput-response-percentage")
    static let downstreamNode = HeaderKey("x-envoy-downstream-service-node")
}

extension RuntimeFraction {
    static let never = RuntimeFraction(numerator: 0, denominator: 100)

    /// The request may ask for a smaller part, of the same whole.
    fileprivate func limited(by key: HeaderKey, _ stream: HTTPStream) -> RuntimeFraction {
        guard let wanted = stream.request.value(key)?.decimal, wanted >= 0 else { return self }
        var limited = self
        limited.numerator = UInt32(min(Int64(numerator), wanted))
        return limited
    }
}
