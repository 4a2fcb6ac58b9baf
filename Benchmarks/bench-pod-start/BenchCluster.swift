import ClusterClient
import Glibc
import Reactor
import YAML

/// One node of `weft up`, in a folder that goes with it. The programs are those beside this one.
struct BenchCluster: Sendable {
    let loop: EventLoop
    private let folder: String
    private let programs: String

    struct Failure: Error, CustomStringConvertible { var description: String }

    init(on loop: EventLoop) throws {
        self.loop = loop
        var template = Array("/tmp/weft-mesh-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failure(description: "mkdtemp: \(errno)") }
        folder = String(cString: made)
        guard let own = realpath("/proc/self/exe", nil) else { throw Failure(description: "no /proc") }
        defer { free(own) }
        programs = String(cString: own).split(separator: "/").dropLast().map { "/" + $0 }.joined()
    }

    func start() async throws {
        try await weft("up", "--nodes", "1", "--without-dns", "--dir", folder + "/c")
    }

    func client() throws -> KubeClient {
        let document = try YAML.parse(Files.readText(folder + "/c/kubeconfig", limit: 1 << 20))
        let config = try KubeConfig(document: document, directory: folder)
        return KubeClient(try HTTPTransport(config, on: loop, userAgent: "bench-pod-start"))
    }

    func stop() async {
        try? await weft("down", "--dir", folder + "/c")
        try? Files.removeTree(folder)
    }

    private func weft(_ arguments: String...) async throws {
        let output = try await ChildProcess.run(
            .init(["\(programs)/weft"] + arguments), on: loop, timeout: .seconds(120))
        guard output.status.isSuccess else {
            throw Failure(description: "weft \(arguments[0]): \(output.text) \(output.errorText)")
        }
    }
}
