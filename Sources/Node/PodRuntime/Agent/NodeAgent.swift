import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Reactor
import Synchronization
import Telemetry

/// Runs the pods that the API server has placed on this node: one `PodWorker` each, from what the watch says.
///
/// Begins with what an agent before it left on disk, so that pods are cared for before the server is reached; nothing new starts and
/// nothing is taken away until the server has said which pods there should be.
public actor NodeAgent {
    private let context: NodeContext
    private let runtime: OCIRuntime
    private let metrics: NodeMetrics
    private let log: Log
    private var workers: [String: PodWorker] = [:]
    /// By namespace and name, the pod that has it now.
    private var uids: [ObjectKey: String] = [:]
    private var hasSynced = false

    /// How often logs are looked at and leftovers are searched for.
    static let housekeepingPeriod: Duration = .seconds(10)
    /// Nothing is in the making for longer.
    static let leftoverAge: Duration = .seconds(300)

    /// Makes the folders and the mount namespace of the OCI runtime. Blocks for some milliseconds.
    ///
    /// - Throws: when crun or conmon is not installed, or this process may not mount.
    public init(_ context: NodeContext, metrics: NodeMetrics = NodeMetrics(MetricsRegistry()), log: Log = .shared)
        throws
    {
        self.context = context
        self.metrics = metrics
        self.log = log
        runtime = OCIRuntime(
            paths: context.paths, cgroups: try CgroupHost(run: context.paths.run), loop: context.loop)
        try runtime.prepare()
    }

    /// Takes up what is on disk. Call once, before `follow`.
    public func recover() async {
        var kept: Set<String> = []
        for uid in Directory.names(context.paths.state + "/pods") {
            guard let bytes = try? Files.read(context.paths.checkpoint(uid)), let json = try? JSONValue.parse(bytes),
                let (state, pod) = PodCheckpoint.decode(json), let spec = try? PodSpec(pod: pod),
                spec.identity.uid == uid
            else {
                log.warning("pod folder without a readable checkpoint", ["uid": uid])
                continue
            }
            let worker = makeWorker(pod, spec, state)
            await worker.adopt(json)
            for id in await worker.heldIDs { kept.insert(id) }
            workers[uid] = worker
            uids[spec.identity.key] = uid
            log.info("pod adopted", ["pod": "\(spec.identity.key)", "uid": uid])
        }
        await removeLeftovers(olderThan: .zero)
        for worker in workers.values { await worker.begin(mayStart: false) }
    }

    /// Takes away containers and sandboxes that no pod knows: those that were being made or taken away when an agent ended.
    ///
    /// - Parameter age: younger ones may be in the making now and are left alone.
    private func removeLeftovers(olderThan age: Duration) async {
        var kept: Set<String> = []
        for worker in workers.values {
            kept.formUnion(await worker.heldIDs)
            if let id = await worker.lifecycle.state.heldSandbox?.id { kept.insert(id) }
        }
        let paths = context.paths
        for id in Set(runtime.containers() + Directory.names(paths.run + "/containers"))
        where !kept.contains(id) && Directory.age(of: paths.bundle(id)) >= age {
            do {
                try await runtime.delete(id)
            } catch {
                log.warning("leftover container not removed", ["container": id, "error": "\(error)"])
            }
        }
        for id in Directory.names(paths.run + "/sandboxes")
        where !kept.contains(id) && Directory.age(of: paths.sandbox(id)) >= age {
            let directory = paths.sandbox(id)
            try? await context.network.detach(
                sandbox: id, namespace: directory + "/net", pod: PodIdentity(key: ObjectKey(name: ""), uid: ""))
            try? await offLoop { SandboxNamespaces.remove(directory: directory) }
        }
    }

    /// Follows the pods of this node until the task is cancelled. Pods go on running after it.
    public func follow(_ client: KubeClient) async {
        let informer = Informer<KubeObject>(
            client, .pods, selection: Selection(fields: "spec.nodeName=\(context.nodeName)"), log: log)
        let (events, sink) = AsyncStream.makeStream(of: InformerEvent<KubeObject>.self)
        informer.onEvent { sink.yield($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            group.addTask { await self.keepHouse() }
            group.addTask {
                for await event in events { await self.handle(event) }
            }
            await withTaskCancellationHandler {
                await group.waitForAll()
            } onCancel: {
                sink.finish()
            }
        }
    }

    func handle(_ event: InformerEvent<KubeObject>) async {
        switch event {
        case .added(_, let pod), .updated(_, _, let pod): await take(pod.json)
        case .deleted(_, let pod): await workers[pod.uid]?.removedFromServer()
        case .synced:
            hasSynced = true
            for (uid, worker) in workers {
                if await worker.isKnownToServer {
                    await worker.allowStart()
                } else {
                    log.info("pod is not at the server any more", ["uid": uid])
                    await worker.removedFromServer()
                }
            }
        }
    }

    func take(_ pod: JSONValue) async {
        let spec: PodSpec
        do {
            spec = try PodSpec(pod: pod)
        } catch {
            context.events.record(
                pod,
                PodLifecycle.Report(isWarning: true, reason: "FailedValidation", message: "\(error)", container: nil))
            return
        }
        let identity = spec.identity
        if let old = uids[identity.key], old != identity.uid {
            // A new pod under an old name: the watch may have swallowed the deletion in between.
            await workers[old]?.removedFromServer()
        }
        if let worker = workers[identity.uid] {
            await worker.update(pod, spec)
            return
        }
        // Pods that ended before this node knew them have nothing here.
        if spec.deletion == nil, let phase = pod["status"]?["phase"]?.string, phase == "Succeeded" || phase == "Failed"
        {
            return
        }
        let worker = makeWorker(pod, spec, PodState(startTime: .now()))
        workers[identity.uid] = worker
        uids[identity.key] = identity.uid
        metrics.runningPods.set(Double(workers.count))
        await worker.markKnown()
        await worker.begin(mayStart: true)
    }

    private func makeWorker(_ pod: JSONValue, _ spec: PodSpec, _ state: PodState) -> PodWorker {
        PodWorker(
            pod: pod, spec: spec, state: state, context: context, runtime: runtime, metrics: metrics, log: log,
            onFinished: { [weak self] identity in
                guard let self else { return }
                Task(executorPreference: self.loop) { await self.drop(identity) }
            })
    }

    private nonisolated var loop: EventLoop { context.loop }

    private func drop(_ identity: PodIdentity) {
        workers[identity.uid] = nil
        metrics.runningPods.set(Double(workers.count))
        if uids[identity.key] == identity.uid { uids[identity.key] = nil }
    }

    private func keepHouse() async {
        while !Task.isCancelled {
            do { try await context.loop.sleep(for: Self.housekeepingPeriod) } catch { return }
            let stamp = Timestamp.now().rfc3339.filter { $0 != ":" && $0 != "-" }
            for worker in workers.values { await worker.rotateLogs(stamp: stamp) }
            await removeLeftovers(olderThan: Self.leftoverAge)
        }
    }

    // MARK: For the node's server

    /// The pods as this node knows them.
    public func pods() async -> [JSONValue] {
        var result: [JSONValue] = []
        for worker in workers.values { result.append(await worker.pod) }
        return result
    }

    /// The worker of the pod that has this name now.
    func worker(namespace: String, name: String) -> PodWorker? {
        uids[ObjectKey(namespace: namespace, name: name)].flatMap { workers[$0] }
    }

    /// How many pods this node cares for.
    public var podCount: Int { workers.count }

    /// Takes away everything that agents with these folders left on this machine: containers, namespaces, mounts, cgroups, files. For a
    /// node that is taken down; no agent may be running.
    public static func removeEverything(paths: NodePaths, cgroupRoot: String, on loop: EventLoop) async throws {
        let runtime = OCIRuntime(paths: paths, cgroups: try CgroupHost(run: paths.run), loop: loop)
        for id in Set(runtime.containers() + Directory.names(paths.run + "/containers")) {
            try await runtime.delete(id)
        }
        try await offLoop {
            runtime.cgroups.remove(cgroupRoot == "/" ? "/kubepods" : cgroupRoot)
            for id in Directory.names(paths.run + "/sandboxes") {
                SandboxNamespaces.remove(directory: paths.sandbox(id))
            }
            MountPoint.removeAll(below: paths.run)
            MountPoint.remove(paths.run)
            try Files.removeTree(paths.run)
            try Files.removeTree(paths.state + "/pods")
        }
    }
}
