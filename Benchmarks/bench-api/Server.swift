import Bytes
import Glibc
import Reactor

/// A server program under test: started in a folder of its own, measured from outside, killed in the end.
final class Server {
    let pid: pid_t
    let folder: String
    private static let startTime = Duration.seconds(20)

    init(_ arguments: [String], folder: String) throws {
        self.folder = folder
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for text in argv { free(text) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in [Int32(1), 2] {
            posix_spawn_file_actions_addopen(
                &actions, descriptor, folder + "/log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The loops of this program block signals; a child must not begin with them blocked.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var child: pid_t = 0
        let status = posix_spawnp(&child, arguments[0], &actions, &attributes, &argv, environ)
        guard status == 0 else { throw SystemError(errno: status, call: "posix_spawn", subject: arguments[0]) }
        pid = child
    }

    func stop() {
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        try? Files.removeTree(folder)
    }

    /// Waits until `ready` holds.
    func wait(_ ready: () async -> Bool) async throws {
        let deadline = ContinuousClock.now + Self.startTime
        while await !ready() {
            guard ContinuousClock.now < deadline else {
                let log = (try? Files.readText(folder + "/log")) ?? ""
                throw BenchmarkError("the server does not start: \(log.suffix(500))")
            }
            try await EventLoop.current?.sleep(for: .milliseconds(20))
        }
    }

    /// User and system time so far, microseconds.
    var processorTime: Double {
        guard let text = try? Files.readText("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return 0 }
        let fields = text[end...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return 0 }
        return (user + system) * 1e6 / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Resident memory, MiB.
    var resident: Double {
        guard let text = try? Files.readText("/proc/\(pid)/status"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS") }),
            let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { return 0 }
        return kilobytes / 1024
    }

    static func makeFolder() throws -> String {
        var template = Array("/var/tmp/weft-bench-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { $0.baseAddress.flatMap { mkdtemp($0) } }
        guard let made else { throw SystemError(errno: errno, call: "mkdtemp", subject: "/var/tmp") }
        return String(cString: made)
    }

    /// A port that nobody has at the moment.
    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard bound else { throw SystemError(errno: errno, call: "bind", subject: "127.0.0.1") }
        return UInt16(bigEndian: address.sin_port)
    }
}

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
