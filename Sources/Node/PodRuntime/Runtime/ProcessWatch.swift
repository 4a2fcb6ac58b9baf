import CLinux
import Glibc
import Reactor

/// Waits for the end of a process that is not our child.
enum ProcessWatch {
    /// Returns when the process has ended; at once when there is none. Runs on `loop`.
    static func end(of pid: Int32, on loop: EventLoop) async {
        let fd = Linux.openProcess(pid)
        guard fd >= 0 else { return }
        let ended = Promise<Void>()
        loop.submit {
            let handler = EndHandler(loop, fd, ended)
            handler.start()
        }
        _ = try? await ended.value()
    }

    private final class EndHandler: PollHandler, @unchecked Sendable {
        private let loop: EventLoop
        private let fd: CInt
        private let ended: Promise<Void>
        private var registration: Registration?

        init(_ loop: EventLoop, _ fd: CInt, _ ended: Promise<Void>) {
            self.loop = loop
            self.fd = fd
            self.ended = ended
        }

        func start() {
            do {
                registration = try loop.register(fd: fd, handler: self, interest: .readable)
            } catch {
                finish()
            }
        }

        override func ready(_ events: PollEvents) { finish() }

        private func finish() {
            if let registration { loop.deregister(registration) }
            registration = nil
            close(fd)
            ended.succeed(())
        }
    }
}
