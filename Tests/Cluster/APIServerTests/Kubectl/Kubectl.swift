import Glibc
import Reactor
import Testing

/// A kubectl program that is at hand, and how to run it.
struct Kubectl: Sendable, CustomTestStringConvertible {
    var version: String
    var path: String
    var testDescription: String { "kubectl \(version)" }

    /// Minor version.
    var minor: Int { version.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0 }

    /// Those of this machine: side-by-side installations of cloud tools, and Debian's, unpacked beside the build if it can
    /// be had.
    static let found: [Kubectl] = {
        var all: [Kubectl] = []
        let tools = folderOfKubectl ?? "/usr/bin"
        for name in ((try? Files.list(tools)) ?? []).sorted() where name.hasPrefix("kubectl.1.") {
            all.append(Kubectl(version: String(name.dropFirst("kubectl.".count)), path: tools + "/" + name))
        }
        if let debian = debian() { all.append(debian) }
        if all.isEmpty {
            print("skipped: no kubectl under \(tools), and Debian's package kubernetes-client cannot be had")
        }
        return all
    }()

    /// Where what `kubectl` on the machine links to stands, and other versions beside it.
    private static let folderOfKubectl: String? = {
        guard let real = realpath("/usr/bin/kubectl", nil) else { return nil }
        defer { free(real) }
        let path = String(cString: real)
        return path.lastIndex(of: "/").map { String(path[..<$0]) }
    }()

    private static func debian() -> Kubectl? {
        // A link leads to another vendor's.
        if folderOfKubectl == "/usr/bin" { return Kubectl(version: "1.20-debian", path: "/usr/bin/kubectl") }
        let folder = ".build/test-tools"
        let program = folder + "/usr/bin/kubectl"
        if !Files.exists(program) {
            let script =
                "mkdir -p \(folder) && cd \(folder) && apt-get download -qq kubernetes-client && dpkg -x kubernetes-client_*.deb . && rm kubernetes-client_*.deb"
            guard system("(\(script)) >/dev/null 2>&1") == 0 else {
                print("skipped: Debian's kubectl: apt-get download kubernetes-client failed")
                return nil
            }
        }
        return Kubectl(version: "1.20-debian", path: program)
    }

    struct Output: Sendable {
        var status: Int32
        var text: String
    }

    /// Runs it with a kubeconfig and a home of its own, so that no cache is shared.
    func run(
        _ arguments: [String], kubeconfig: String, home: String, environment: [String] = [], input: String? = nil,
        patience: Duration = .seconds(90)
    ) async throws -> Output {
        let serial = UInt64.random(in: 0...UInt64.max)
        let (outputPath, inputPath) = ("\(home)/out-\(serial)", "\(home)/in-\(serial)")
        try Files.writeAtomically(inputPath, input ?? "")
        defer {
            unlink(outputPath)
            unlink(inputPath)
        }
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        let variables = ["KUBECONFIG=\(kubeconfig)", "HOME=\(home)", "PATH=/usr/bin:/bin"] + environment
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, inputPath, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, nil, &argv, &envp)
        guard code == 0 else { throw SystemError(errno: code, call: "posix_spawn", subject: path) }
        let deadline = ContinuousClock.now + patience
        var status: Int32 = 0
        while waitpid(child, &status, WNOHANG) == 0 {
            if ContinuousClock.now > deadline { kill(child, SIGKILL) }
            try? await Task.sleep(for: .milliseconds(5))
        }
        let text = (try? Files.readText(outputPath)) ?? ""
        return Output(status: status & 0x7f == 0 ? (status >> 8) & 0xff : -1, text: text)
    }
}
