import Glibc

/// A program that a test starts. Its descriptors reach no other child, so that each sees the end of its input when it is
/// there, however many tests start programs at the same time.
package final class ChildCommand {
    private let process: pid_t
    private var input: CInt
    private let output: CInt

    package struct Failure: Error, CustomStringConvertible { package var description: String }

    /// Both outputs go to one stream, and no signal is blocked in it.
    package init(_ arguments: [String]) throws {
        var (inner, outer): ([CInt], [CInt]) = ([-1, -1], [-1, -1])
        // Glibc's module has no pipe2, and two steps would leave a gap for another's fork.
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &inner) == 0, socketpair(AF_UNIX, kind, 0, &outer) == 0 else {
            throw Failure(description: "socketpair: \(errno)")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, inner[0], STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, outer[1], STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, outer[1], STDERR_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        let status = posix_spawnp(&process, arguments[0], &actions, &attributes, &words, environ)
        close(inner[0])
        close(outer[1])
        (self.process, input, output) = (process, inner[1], outer[0])
        guard status == 0 else {
            close(inner[1])
            close(outer[0])
            throw Failure(description: "\(arguments[0]): error \(status)")
        }
    }

    /// Gives it all its input and waits for its end; its output and exit status.
    package func finish(_ text: String = "") -> (output: String, status: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { send(input, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { break }
            bytes = bytes.dropFirst(count)
        }
        return end()
    }

    /// Gives it a line and waits for the line that it answers with.
    package func ask(_ line: String) throws -> String {
        let bytes = Array((line + "\n").utf8)
        guard bytes.withUnsafeBytes({ send(input, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == bytes.count
        else {
            throw Failure(description: "it takes no line: \(errno)")
        }
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while read(output, &byte, 1) == 1, byte != 10 { answer.append(byte) }
        return String(decoding: answer, as: UTF8.self)
    }

    /// Ends its input and waits for its end: what a program that reads it does then.
    @discardableResult
    package func end() -> (output: String, status: Int32) {
        guard input >= 0 else { return ("", 0) }
        close(input)
        input = -1
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(output, &buffer, buffer.count), count > 0 { answer += buffer[..<count] }
        close(output)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return (String(decoding: answer, as: UTF8.self), status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F)
    }
}
