import Glibc
import Reactor
import XDS

/// Where a proxy writes down what its control plane has said, so that it can come back while there is none. On the directory's loop; the
/// writing is done elsewhere, one state after the other.
///
/// A state is replaced as a whole or not at all. It is not forced to the disk: it is to outlive the process, not the machine.
final class StateFile: @unchecked Sendable {
    // `@unchecked`: everything that changes is changed on the loop.
    private let path: String
    private let owner: String
    private let loop: EventLoop
    private var timer = TimerHandle.none
    private var isWriting = false
    private var isDue = false
    private var lastSize = 0
    private var hasComplained = false
    /// What there is to write, when it is time.
    var state: (() -> DiscoveryMemory)?

    init(_ path: String, owner: String, _ loop: EventLoop) {
        self.path = path
        self.owner = owner
        self.loop = loop
    }

    /// What an earlier run has left; nil for nothing that can be used.
    func read() -> DiscoveryMemory? {
        guard let bytes = try? Files.read(path) else { return nil }
        do {
            let memory = try DiscoveryMemory(bytes, owner: owner)
            for problem in memory.problems { ProxyLog.warning(.config, "\(path): \(problem)") }
            return memory.isEmpty ? nil : memory
        } catch {
            ProxyLog.warning(.config, "\(path) is not used: it \(error)")
            return nil
        }
    }

    /// Something has changed: it is written soon, the later the more there is to write (100 KB a second on average).
    func changed() {
        isDue = true
        guard !isWriting, timer == .none else { return }
        timer = loop.schedule(after: .milliseconds(500 + lastSize / 100)) { [weak self] in self?.write() }
    }

    private func write() {
        timer = .none
        guard let state else { return }
        isDue = false
        isWriting = true
        let memory = state()
        Task.detached { [self, path, owner, loop] in
            let bytes = memory.encoded(owner)
            var failure: String?
            if let bytes {
                do { try Files.writeAtomically(path, bytes, mode: 0o600) } catch { failure = "\(error)" }
            } else {
                // An old state would be worse than none.
                unlink(path)
                failure = "it would be larger than \(DiscoveryMemory.limit) bytes"
            }
            loop.submit { [failure] in self.written(bytes?.count ?? DiscoveryMemory.limit, failure) }
        }
    }

    private func written(_ size: Int, _ failure: String?) {
        isWriting = false
        lastSize = size
        if let failure, !hasComplained {
            ProxyLog.warning(.config, "the state of the control plane is not written to \(path): \(failure)")
        }
        hasComplained = failure != nil
        if isDue { changed() }
    }

    func close() {
        loop.cancel(timer)
        state = nil
    }
}
