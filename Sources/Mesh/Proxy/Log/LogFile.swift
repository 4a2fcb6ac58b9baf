// Log: a line for each stream: when one is written, what is in it, and how it reaches its file without a loop waiting.

import Glibc
import Reactor
import Synchronization

/// A file that workers write lines to. Lines are gathered and written by a thread of their own, so that a slow or full disk
/// never holds up a request; when more waits than `limit`, lines are dropped and counted.
package final class LogFile: Sendable {
    /// Bytes that wait at most.
    static let limit = 16 << 20

    package let path: String
    private struct State {
        var pending: [UInt8] = []
        var descriptor: CInt
        var dropped = 0
        var failures = 0
    }
    private let state: Mutex<State>
    /// Of the descriptor: one writer at a time.
    private let writing = Mutex(())
    private let ownsDescriptor: Bool

    /// Opens the file to append to it.
    package init(path: String) throws(SystemError) {
        self.path = path
        ownsDescriptor = path != "/dev/stdout" && path != "/dev/stderr"
        state = Mutex(State(descriptor: try Self.open(path)))
    }

    private static func open(_ path: String) throws(SystemError) -> CInt {
        switch path {
        case "/dev/stdout": return STDOUT_FILENO
        case "/dev/stderr": return STDERR_FILENO
        default:
            let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
            return descriptor
        }
    }

    deinit {
        flush()
        state.withLock { if ownsDescriptor { Glibc.close($0.descriptor) } }
    }

    /// Queues lines. Any thread.
    func append(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            guard state.pending.count + bytes.count <= Self.limit else {
                state.dropped += 1
                return
            }
            state.pending.append(contentsOf: bytes)
        }
    }

    /// Writes what waits. Blocks; for the log's own thread, and for the end.
    package func flush() {
        writing.withLock { _ in
            let (bytes, descriptor) = state.withLock { state in
                defer { state.pending = [] }
                return (state.pending, state.descriptor)
            }
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno != EINTR {
                    return state.withLock { $0.failures += 1 }
                }
            }
        }
    }

    /// Opens the path again, after somebody has moved the file away.
    package func reopen() {
        guard ownsDescriptor, let fresh = try? Self.open(path) else { return }
        flush()
        writing.withLock { _ in
            let old = state.withLock { state in
                defer { state.descriptor = fresh }
                return state.descriptor
            }
            Glibc.close(old)
        }
    }

    /// Lines that were dropped because too much waited, and writes that failed.
    package var troubles: (dropped: Int, failures: Int) { state.withLock { ($0.dropped, $0.failures) } }
}

/// All log files of the proxy, each open once whatever says its path, and the thread that writes them.
package final class LogFiles: Sendable {
    private let files = Mutex<[String: LogFile]>([:])
    private let group: EventLoopGroup

    /// - Parameter interval: how long a line waits at most.
    package init(interval: Duration = .seconds(10)) throws(SystemError) {
        group = try EventLoopGroup(count: 1, name: "log")
        let loop = group.all[0]
        loop.submit { [weak self] in self?.schedule(loop, interval) }
    }

    private func schedule(_ loop: EventLoop, _ interval: Duration) {
        loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            flush()
            schedule(loop, interval)
        }
    }

    package func open(_ path: String) throws(SystemError) -> LogFile {
        if let file = files.withLock({ $0[path] }) { return file }
        let file = try LogFile(path: path)
        return files.withLock { files in
            if let other = files[path] { return other }
            files[path] = file
            return file
        }
    }

    private var all: [LogFile] { files.withLock { Array($0.values) } }

    /// Lines dropped and writes failed, of all files.
    package var troubles: (dropped: Int, failures: Int) {
        all.map(\.troubles).reduce((0, 0)) { ($0.0 + $1.dropped, $0.1 + $1.failures) }
    }

    package func flush() { for file in all { file.flush() } }
    package func reopen() { for file in all { file.reopen() } }

    /// Writes what waits and ends the thread.
    package func close() async {
        flush()
        await group.shutdown()
        flush()
    }
}
