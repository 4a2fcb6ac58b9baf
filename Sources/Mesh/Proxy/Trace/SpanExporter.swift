import Protobuf
import Reactor
import TLS

/// A worker's spans on their way to one collector: they gather until there are enough of them or the first has waited long
/// enough, and while the collector has not answered. Nothing is sent twice.
final class SpanExporter {
    private unowned(unsafe) let worker: ProxyWorker
    private let export: TraceExport
    private var waiting = GrowingBytes()
    private var count = 0
    private var scratch = ReverseBuffer(capacity: 2048)
    private var timerRuns = false
    private var call: Call?

    init(_ worker: ProxyWorker, _ export: TraceExport) {
        self.worker = worker
        self.export = export
    }

    deinit { waiting.deallocate() }

    /// False, and counted, when too many wait already.
    func mayTake() -> Bool {
        guard count < export.settings.maximumWaiting else {
            worker.count(export.stats, .dropped)
            return false
        }
        return true
    }

    /// `body` prepends one encoded span.
    func take(_ body: (inout ReverseBuffer) -> Void) {
        scratch.removeAll()
        body(&scratch)
        scratch.withBytes { waiting.append($0) }
        count += 1
        if count >= export.batch { flush() }
        guard count > 0, !timerRuns, call == nil else { return }
        timerRuns = true
        worker.loop.schedule(after: .nanoseconds(Int64(clamping: export.interval))) { [weak self] in
            guard let self else { return }
            timerRuns = false
            worker.count(export.stats, .timerFlushed)
            flush()
            worker.flush()
        }
    }

    func flush() {
        guard count > 0, call == nil else { return }
        let sent = count
        count = 0
        call = export.send(waiting.bytes, worker) { [weak self] _ in
            guard let self else { return }
            call = nil
            if count > 0 { flush() }
        }
        waiting.clear()
        worker.count(export.stats, .sent, by: Int64(sent))
    }

    /// Something waits to be sent, or for the collector's answer.
    var isBusy: Bool { count > 0 || call != nil }

    /// Nobody waits for an answer any more.
    func close() {
        call?.cancel()
        call = nil
    }
}
