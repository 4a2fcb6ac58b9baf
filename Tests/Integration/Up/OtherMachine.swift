import Glibc
import Reactor
import TestSupport

/// A machine of the test's own: a fresh network and mount namespace, kept by a sleeping process. What `weft up` does to "this machine"
/// happens there. Gone with the object, with every process in it.
final class OtherMachine: Sendable {
    private let holder: Int32
    let directory: String
    static let programs = BuiltPrograms.folder

    struct Output: Sendable {
        var status: Int32
        var text: String
        var succeeded: Bool { status == 0 }
    }

    struct Failure: Error { var text: String }

    /// Whether the programs are there to be tried; a narrowed build has them not.
    static var isAvailable: Bool {
        ["weft", "weft-control", "weft-node", "weft-dns"].allSatisfy { BuiltPrograms.path($0) != nil }
            && geteuid() == 0
    }

    init() throws {
        var template = Array("/tmp/weft-up-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(text: "mkdtemp") }
        directory = template.withUnsafeBufferPointer {
            String(decoding: $0.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        let ready = directory + "/ready"
        // /run/netns is a mount of its own here, so that names do not meet the host's.
        let script = """
            mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && touch \(ready) && exec sleep 3600
            """
        holder = try Self.spawn(["unshare", "--net", "--mount", "sh", "-c", script])
        for _ in 0..<500 where !Files.exists(ready) { usleep(10_000) }
        guard Files.exists(ready) else { throw Failure(text: "no namespaces: unshare failed") }
    }

    deinit {
        _ = try? weft("down", "--dir", cluster)
        kill(holder, SIGKILL)
        waitpid(holder, nil, 0)
        try? Files.removeTree(directory)
    }

    var cluster: String { directory + "/c" }

    private static func spawn(_ arguments: [String], output: CInt = -1) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if output >= 0 {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
            posix_spawn_file_actions_adddup2(&actions, output, 2)
        }
        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid = pid_t()
        let status = posix_spawnp(&pid, arguments[0], &actions, nil, &words, environ)
        guard status == 0 else { throw Failure(text: "\(arguments[0]): error \(status)") }
        return pid
    }

    private func inside(_ arguments: [String]) -> [String] {
        ["nsenter", "-t", "\(holder)", "--net", "--mount", "--"] + arguments
    }

    /// Starts a program on the machine; the caller waits for it.
    func start(_ arguments: [String], log: String) throws -> Int32 {
        let file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Failure(text: "open \(log)") }
        defer { close(file) }
        return try Self.spawn(inside(arguments), output: file)
    }

    /// Runs a program on the machine to its end.
    @discardableResult
    func run(_ arguments: String...) throws -> Output { try run(arguments) }

    func run(_ arguments: [String]) throws -> Output {
        let log = "\(directory)/output-\(UInt32.random(in: 0 ... .max))"
        defer { unlink(log) }
        let pid = try start(arguments, log: log)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let text = (try? Files.readText(log)) ?? ""
        return Output(status: status & 0x7F == 0 ? status >> 8 : 128 + status & 0x7F, text: text)
    }

    func weft(_ arguments: String...) throws -> Output { try weft(arguments) }
    func weft(_ arguments: [String]) throws -> Output { try run(["\(Self.programs)/weft"] + arguments) }

    /// Everything of a cluster that could be left, named; empty when nothing is.
    func remains() throws -> [String] {
        var found: [String] = []
        let links = try run("ip", "-br", "link").text.split(separator: "\n").filter { !$0.hasPrefix("lo ") }
        found += links.map { "link \($0)" }
        found += ((try? Files.list("/proc/\(holder)/root/run/netns")) ?? []).map { "namespace \($0)" }
        found += try run("cat", "/proc/self/mountinfo").text.split(separator: "\n").filter { $0.contains(cluster) }.map
        {
            "mount \($0)"
        }
        found += try run("nft", "list", "tables").text.split(separator: "\n").map { "nftables \($0)" }
        for name in (try? Files.list("/proc")) ?? [] {
            guard let pid = Int32(name), let words = try? Files.read("/proc/\(pid)/cmdline", limit: 1 << 20) else {
                continue
            }
            let text = String(decoding: words.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
            if text.contains(cluster) { found.append("process \(pid) \(text)") }
        }
        if Files.exists(cluster) { found.append("folder \(cluster)") }
        return found
    }

    /// The cgroups of the cluster, by its id.
    func controlGroups(_ id: String) throws -> [String] {
        try run("find", "/sys/fs/cgroup", "-path", "*/weft/\(id)*", "-type", "d").text.split(separator: "\n").map(
            String.init)
    }
}
