import Glibc
import JSON
public import Reactor
public import TLS
public import Telemetry

/// The pods of this node that are in the mesh: each has a folder with two sockets, `sds.sock` for its certificates and `xds.sock` for
/// its configuration, which serve that pod alone. Who may connect is who sees the folder.
///
/// The sockets come back at the same place when this process does; keys are made here and are in memory only.
public final class MeshWorkloads: @unchecked Sendable {
    // Proof for `@unchecked`: what changes is touched on `loop` only.

    public static let secretSocket = "sds.sock"
    public static let configurationSocket = "xds.sock"

    /// Hears what people who look at a pod should know; on the loop.
    public typealias Listener = @Sendable (MeshPod, WorkloadNews) -> Void

    private let configuration: MeshNodeConfiguration
    private let group: EventLoopGroup
    private let loop: EventLoop
    private let log: Log
    private let authority: AuthorityClient
    private let metrics: MeshNodeMetrics
    private let tell: Listener
    private var workloads: [String: Workload] = [:]
    /// What is trusted, as the control plane has said last.
    private var roots: [Certificate] = []

    /// - Parameter group: Of one loop, on which all of it happens.
    public init(
        _ configuration: MeshNodeConfiguration, on group: EventLoopGroup, metrics: MetricsRegistry, log: Log,
        tell: @escaping Listener = { _, _ in }
    ) throws {
        self.tell = tell
        self.configuration = configuration
        self.group = group
        self.log = log
        loop = group.all[0]
        self.metrics = MeshNodeMetrics(metrics)
        authority = try AuthorityClient(configuration, on: loop)
        try Files.makeDirectories(configuration.recordDirectory, mode: 0o700)
    }

    /// Serves the pods that an earlier process served. Those whose folder has gone are forgotten.
    public func recover() async {
        let directory = configuration.recordDirectory
        for name in (try? Files.list(directory)) ?? [] {
            let path = "\(directory)/\(name)"
            guard let text = try? Files.readText(path, limit: 1 << 16),
                let json = try? JSONValue.parse(Array(text.utf8)),
                let record = PodRecord(json), Files.isDirectory(record.folder)
            else {
                try? Files.remove(path)
                continue
            }
            do {
                try await start(record.pod, folder: record.folder)
            } catch {
                log.error("a pod's mesh sockets did not come back", ["pod": record.name, "error": "\(error)"])
            }
        }
    }

    /// Serves a pod: when this returns, its sockets stand in `folder`, which is made if it is missing. A proxy may connect at once; what
    /// it asks for is answered when the pod has its certificate. Again for the same pod is no error.
    ///
    /// - Throws: `SystemError` where a socket cannot be made.
    public func start(_ pod: MeshPod, folder: String) async throws {
        try await loop.perform { try await self.open(PodRecord(pod: pod, folder: folder)) }
    }

    /// Serves a pod no longer; its keys are forgotten and its sockets removed. Unknown pods are no error.
    public func stop(_ uid: String) async {
        try? await loop.perform { await self.close(uid) }
    }

    /// Follows what is trusted, until cancelled.
    public func run() async {
        try? await loop.perform {
            await TrustFollower(self.authority, self.configuration.trustDomain, self.log).run { self.trust($0) }
        }
    }

    /// Shows the authority another certificate of this node's, in the place of one that will end.
    public func use(_ identity: TLSIdentity) throws(TLSError) { try authority.use(identity) }

    /// How the pods stand.
    public func status() async -> [WorkloadStatus] {
        (try? await loop.perform { self.workloads.values.map(\.status).sorted { $0.pod.name < $1.pod.name } }) ?? []
    }

    // MARK: On the loop

    private func open(_ record: PodRecord) async throws {
        if let old = workloads[record.pod.uid] {
            guard old.record != record else { return }
            await close(record.pod.uid)
        }
        try Files.makeDirectories(record.folder)
        try Files.writeAtomically(recordPath(record.pod.uid), record.json.encodedString(), mode: 0o600)
        let workload = Workload(
            record, authority: authority, configuration: configuration, roots: roots, loop: loop, metrics: metrics,
            log: log, tell: tell)
        workloads[record.pod.uid] = workload
        metrics.pods.set(Double(workloads.count))
        do {
            try await workload.open(on: group)
        } catch {
            await close(record.pod.uid)
            throw error
        }
    }

    private func close(_ uid: String) async {
        guard let workload = workloads.removeValue(forKey: uid) else { return }
        try? Files.remove(recordPath(uid))
        metrics.pods.set(Double(workloads.count))
        await workload.close()
    }

    private func trust(_ roots: [Certificate]) {
        guard roots != self.roots else { return }
        self.roots = roots
        log.info("what the mesh trusts has changed", ["roots": roots.map(\.subjectText).joined(separator: "; ")])
        for workload in workloads.values { workload.trust(roots) }
    }

    private func recordPath(_ uid: String) -> String { "\(configuration.recordDirectory)/\(uid).json" }
}
