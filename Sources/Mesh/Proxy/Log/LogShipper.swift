import GRPC
import Protobuf
import TLS

/// A worker's lines on their way to one log service: they gather until there are enough of them or the first has waited long
/// enough, and while the service is not reached or has not answered. Nothing is sent twice.
final class LogShipper {
    private unowned(unsafe) let worker: ProxyWorker
    private let service: LogService
    private var waiting = GrowingBytes()
    private var count = 0
    private var scratch = ReverseBuffer(capacity: 2048)
    private var timerRuns = false
    /// OpenTelemetry's request under way.
    private var call: Call?
    /// The service's stream; entries go to it once it is open.
    private var stream: GRPCStream?
    private var isOpen = false
    private var isFirst = true

    init(_ worker: ProxyWorker, _ service: LogService) {
        self.worker = worker
        self.service = service
    }

    deinit { waiting.deallocate() }

    /// `body` prepends one encoded line.
    func take(_ body: (inout ReverseBuffer) -> Void) {
        guard waiting.count < LogService.limit else {
            return worker.count(service.stats, .dropped(service.settings.kind))
        }
        scratch.removeAll()
        body(&scratch)
        scratch.withBytes { waiting.append($0) }
        count += 1
        worker.count(service.stats, .written(service.settings.kind))
        if waiting.count >= service.settings.batch { flush() }
        guard count > 0, !timerRuns else { return }
        timerRuns = true
        worker.loop.schedule(after: .nanoseconds(Int64(clamping: service.settings.interval))) { [weak self] in
            guard let self else { return }
            timerRuns = false
            flush()
            worker.flush()
        }
    }

    func flush() {
        guard count > 0 else { return }
        if service.settings.kind == .openTelemetry { export() } else { write() }
    }

    private func export() {
        guard call == nil else { return }
        count = 0
        call = service.export(waiting.bytes, worker) { [weak self] in
            guard let self else { return }
            call = nil
            flush()
        }
        waiting.clear()
    }

    private func write() {
        guard let stream else { return open() }
        guard isOpen, stream.takesMore else { return }
        stream.send(service.message(waiting.bytes, isFirst: isFirst))
        isFirst = false
        count = 0
        waiting.clear()
    }

    private func open() {
        (isOpen, isFirst) = (false, true)
        do throws(GRPCEnding) {
            stream = try GRPCStream.open(worker, service.stream) { [weak self] event in self?.hears(event) }
        } catch { drop() }
    }

    private func hears(_ event: GRPCStream.Event) {
        switch event {
        case .opened:
            isOpen = true
            write()
        case .message: stream?.next()
        case .ended:
            stream = nil
            // What waited for a stream that never stood is not kept for the next.
            if !isOpen { drop() }
        }
    }

    private func drop() {
        worker.count(service.stats, .dropped(service.settings.kind), by: Int64(count))
        count = 0
        waiting.clear()
    }

    /// Something waits to be sent, or for an answer.
    var isBusy: Bool { count > 0 || call != nil }

    /// Nobody waits for an answer any more.
    func close() {
        call?.cancel()
        call = nil
        stream?.cancel()
        stream = nil
    }
}
