import Bytes
import Glibc
import Reactor

/// A service proxy as a process of its own, told by a kubeconfig and a KubeProxyConfiguration: ours, or kube-proxy itself.
struct ProxyProcess {
    enum Program: Sendable {
        case weftNode(path: String)
        case kubeProxy(path: String)

        var name: String {
            switch self {
            case .weftNode: "weft-node"
            case .kubeProxy: "kube-proxy"
            }
        }
    }

    static let healthPort: UInt16 = 10256
    static let metricsPort: UInt16 = 10249

    let program: Program
    let folder: String

    init(_ program: Program, server port: UInt16) throws {
        self.program = program
        var template = Array("/var/tmp/weft-bench-XXXXXX".utf8CString)
        guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
            throw SystemError.last("mkdtemp", "/var/tmp")
        }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try Files.writeAtomically(
            folder + "/kubeconfig",
            """
            apiVersion: v1
            kind: Config
            current-context: bench
            clusters: [{name: bench, cluster: {server: "http://127.0.0.1:\(port)"}}]
            contexts: [{name: bench, context: {cluster: bench, user: bench}}]
            users: [{name: bench, user: {token: bench}}]

            """)
        // conntrack: the machine's limits stay as they are; in a network namespace kube-proxy may not set them.
        let conntrack =
            if case .kubeProxy = program {
                "conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}\n"
            } else {
                ""
            }
        try Files.writeAtomically(
            folder + "/config.yaml",
            """
            apiVersion: kubeproxy.config.k8s.io/v1alpha1
            kind: KubeProxyConfiguration
            mode: nftables
            hostnameOverride: \(Load.node)
            clusterCIDR: 10.128.0.0/9
            clientConnection: {kubeconfig: \(folder)/kubeconfig, contentType: application/json}
            healthzBindAddress: 127.0.0.1:\(Self.healthPort)
            metricsBindAddress: 127.0.0.1:\(Self.metricsPort)
            \(conntrack)
            """)
    }

    func remove() { try? Files.removeTree(folder) }

    func start(on loop: EventLoop) async throws -> ChildProcess {
        var configuration =
            switch program {
            case .weftNode(let path):
                ChildProcess.Configuration([
                    path, "--roles", "service-proxy", "--config", folder + "/config.yaml", "--node-ip", "127.0.0.1",
                ])
            case .kubeProxy(let path): ChildProcess.Configuration([path, "--config", folder + "/config.yaml"])
            }
        let log = open(folder + "/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw SystemError.last("open", folder + "/log") }
        defer { close(log) }
        configuration.descriptors = [1: log, 2: log]
        // Also when the benchmark is interrupted.
        configuration.deathSignal = SIGKILL
        return try await ChildProcess.start(configuration, on: loop)
    }

    /// What it said last, for errors.
    var lastWords: String { String(((try? Files.readText(folder + "/log")) ?? "").suffix(1000)) }
}
