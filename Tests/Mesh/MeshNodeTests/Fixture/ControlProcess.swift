import ClusterClient
import Glibc
import HTTP
import JSON
import Reactor
import TLS
import TestSupport
import Testing
import YAML

/// A `weft-control` of the test's own.
final class ControlProcess: @unchecked Sendable {
    // Proof for `@unchecked`: of one task.
    let folder: ScratchFolder
    let meshPort: UInt16
    private let port: UInt16
    private let loop: EventLoop
    private var process: ChildProcess?
    private let wrapper: [String]
    private let hasControllers: Bool

    /// - Parameters:
    ///   - wrapper: What the program is started by, given a folder to write to; nothing as a rule.
    ///   - hasControllers: Nodes' certificates are renewed.
    init(on loop: EventLoop, hasControllers: Bool = false, wrapper: (_ folder: String) throws -> [String] = { _ in [] })
        async throws
    {
        self.loop = loop
        folder = try ScratchFolder()
        self.wrapper = try wrapper(folder.path)
        self.hasControllers = hasControllers
        port = try OwnAddress.freePort()
        meshPort = try OwnAddress.freePort()
        try await start()
    }

    private var program: String {
        BuiltPrograms.path("weft-control") ?? ""
    }

    func start() async throws {
        process = try await ChildProcess.start(
            .init(
                wrapper + [
                    program, "run", "--data-dir", folder.path + "/data", "--listen", "127.0.0.1:\(port)",
                    "--advertise-address", "127.0.0.1", "--mesh-address", "127.0.0.1:\(meshPort)",
                    "--mesh-cert-lifetime",
                    "10s", "--controllers", "\(hasControllers)", "--scheduler", "false",
                ]), on: loop)
    }

    func kill() {
        process?.kill(9)
        process = nil
    }

    /// What it has taken of the processor since its start, and has of memory now.
    func usage() throws -> (seconds: Double, megabytes: Double) {
        let pid = try #require(process?.processID)
        let fields = try Files.readText("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        let ticks = fields.dropFirst(11).prefix(2).compactMap { Double($0) }.reduce(0, +)
        let pages = try Files.readText("/proc/\(pid)/statm").split(separator: " ").dropFirst().first.flatMap {
            Double($0)
        }
        return (ticks / Double(sysconf(Int32(_SC_CLK_TCK))), (pages ?? 0) * 4096 / 1e6)
    }

    func client() async throws -> KubeClient {
        let path = folder.path + "/data/admin.kubeconfig"
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if Files.exists(path) {
                let client = KubeClient(try HTTPTransport(try config(path), on: loop, userAgent: "weft-test"))
                if (try? await client.discovery("/version")) != nil { return client }
            }
            try await loop.sleep(for: .milliseconds(20))
        }
        throw NeverSo(what: "the control plane serves")
    }

    func nodeConfig(_ name: String, duration: String = "8760h") async throws -> KubeConfig {
        let path = folder.path + "/\(name).kubeconfig"
        let output = try await ChildProcess.run(
            .init([
                program, "issue-node-kubeconfig", "--name", name, "--data-dir", folder.path + "/data", "--server",
                "https://127.0.0.1:\(port)", "--out", path, "--duration", duration,
            ]), on: loop)
        try #require(output.status.isSuccess, "\(output.errorText)")
        return try config(path)
    }

    private func config(_ path: String) throws -> KubeConfig {
        try KubeConfig(document: try YAML.parse(try Files.readText(path)), directory: folder.path)
    }
}
