import Bytes
import ClusterAPI
import Glibc
import JSON
import Reactor
import Telemetry

/// Cares for one pod from its arrival to its end: asks `PodLifecycle` what is next, does it, and tells the API server.
///
/// Everything that waits is a task whose end is an event for the life cycle; nothing here decides.
actor PodWorker {
    let identity: PodIdentity
    let context: NodeContext
    let runtime: OCIRuntime
    let metrics: NodeMetrics
    let log: Log
    /// Called once, when nothing of the pod is left on this node.
    let onFinished: @Sendable (PodIdentity) -> Void

    var lifecycle: PodLifecycle
    /// The object as last seen from the server.
    var pod: JSONValue
    var savedState: JSONValue?
    var timer: Task<Void, Never>?
    /// When the present timer rings.
    var wakeAt: Timestamp?
    var deletions = 0
    /// Ids of containers that are made ahead of their start, until they run or are deleted.
    var ahead: Set<String> = []
    /// The work on them, by the container's name.
    var prepared: [String: Task<CreatedContainer?, Never>] = [:]
    /// The last of them.
    var preparing: Task<CreatedContainer?, Never>?
    var volumes = VolumeProgress()
    var publishing = Publishing()
    var isTornDown = false
    var isFinished = false

    struct VolumeProgress {
        var refreshedAt: Timestamp?
        var tokens: [String: (text: String, renewAt: Timestamp)] = [:]
        var refresh: Task<Void, Never>?
    }

    struct Publishing {
        var isUnderWay = false
        var sent: JSONValue?
        var failures = 0
        /// The server has no such pod any more.
        var isGone = false
        var isConfirmed = false
    }

    /// How long the supervisor has to write its record after a container's process is gone.
    static let exitRecordTimeout: Duration = .seconds(2)
    /// How often ConfigMaps, Secrets and tokens of mounted volumes are looked at again.
    static let volumeRefresh: Duration = .seconds(60)

    init(
        pod: JSONValue, spec: PodSpec, state: PodState, context: NodeContext, runtime: OCIRuntime, metrics: NodeMetrics,
        log: Log, onFinished: @escaping @Sendable (PodIdentity) -> Void
    ) {
        identity = spec.identity
        self.pod = pod
        lifecycle = PodLifecycle(spec: spec, state: state)
        self.context = context
        self.runtime = runtime
        self.metrics = metrics
        self.log = log
        self.onFinished = onFinished
    }

    // MARK: From the agent

    func begin(mayStart: Bool) {
        lifecycle.mayStart = mayStart
        pump()
    }

    func allowStart() {
        guard !lifecycle.mayStart else { return }
        lifecycle.mayStart = true
        pump()
    }

    /// The server has named this pod since the agent began.
    private(set) var isKnownToServer = false
    func markKnown() { isKnownToServer = true }

    func update(_ pod: JSONValue, _ spec: PodSpec) {
        isKnownToServer = true
        // The watch may lag behind the answers to our own writes.
        if Self.version(pod) >= Self.version(self.pod) { self.pod = pod }
        publishing.isGone = false
        lifecycle.specChanged(spec)
        pump()
    }

    /// The object is gone from the server: what runs is stopped, with the grace that was known last.
    func removedFromServer() {
        publishing.isGone = true
        if isTornDown { return finish() }
        var spec = lifecycle.spec
        if spec.deletion == nil {
            spec.deletion = PodSpec.Deletion(requestedAt: .now(), gracePeriod: spec.terminationGracePeriod)
        }
        lifecycle.specChanged(spec)
        pump()
    }

    /// Takes up what an agent before this one left: running containers are watched, ended ones are recorded.
    func adopt(_ checkpoint: JSONValue) async {
        let now = Timestamp.now()
        if let facts = lifecycle.state.sandboxFacts {
            let namespaces = SandboxNamespaces(
                directory: context.paths.sandbox(facts.id), hostNetwork: facts.networkPath.isEmpty,
                hostIPC: facts.ipcPath.isEmpty)
            if !namespaces.exist { lifecycle.sandboxLost(now: now) }
        }
        for (name, container) in lifecycle.state.containers {
            guard let running = container.running else { continue }
            if runtime.process(of: running.id) == running.pid {
                lifecycle.resume(
                    name, passed: PodCheckpoint.passedProbes(checkpoint, container: name), now: now)
                watch(name, id: running.id, pid: running.pid)
            } else {
                await ended(name, id: running.id)
            }
        }
        savedState = checkpoint
    }

    /// Containers that the runtime must keep.
    var heldIDs: [String] { lifecycle.state.containers.values.compactMap { $0.running?.id } + ahead }

    // MARK: The pump

    /// Does what is next until nothing is; never waits.
    func pump() {
        guard !isFinished else { return }
        let plan = lifecycle.next(now: .now())
        for step in plan.steps { perform(step) }
        save()
        publish()
        arm(plan.wakeAt)
    }

    func arm(_ moment: Timestamp?) {
        guard let moment else {
            timer?.cancel()
            timer = nil
            wakeAt = nil
            return
        }
        if timer != nil, wakeAt == moment { return }
        timer?.cancel()
        wakeAt = moment
        let delay = max(moment - Timestamp.now(), .zero)
        timer = task { worker in
            do { try await worker.context.loop.sleep(for: delay) } catch { return }
            await worker.timerRang(moment)
        }
    }

    func timerRang(_ moment: Timestamp) {
        guard wakeAt == moment else { return }
        timer = nil
        wakeAt = nil
        pump()
    }

    @discardableResult
    func task(_ body: @escaping @Sendable (PodWorker) async -> Void) -> Task<Void, Never> {
        Task(executorPreference: context.loop) { await body(self) }
    }

    func perform(_ step: PodLifecycle.Step) {
        switch step {
        case .createSandbox(let attempt): task { await $0.createSandbox(attempt) }
        case .prepare(let container): prepare(container)
        case .start(let container, let attempt): task { await $0.start(container, attempt) }
        case .hook(let container, let hook, let action): task { await $0.run(hook, action, of: container) }
        case .probe(let container, let kind, let probe): task { await $0.ask(kind, probe, of: container) }
        case .signal(let container, let signal): send(signal, to: container)
        case .removeSandbox(let facts): task { await $0.removeSandbox(facts) }
        case .report(let report): self.report(report)
        }
    }

    func report(_ report: PodLifecycle.Report) { context.events.record(pod, report) }

    func report(_ reason: String, _ message: String, isWarning: Bool = false, container: String? = nil) {
        report(PodLifecycle.Report(isWarning: isWarning, reason: reason, message: message, container: container))
    }

    func save() {
        let json = PodCheckpoint.encode(lifecycle.state, pod: pod)
        guard json != savedState, !isTornDown else { return }
        do {
            try Directory.make(context.paths.pod(identity.uid))
            try Files.writeAtomically(context.paths.checkpoint(identity.uid), json.encoded(), mode: 0o600, sync: false)
            savedState = json
        } catch {
            log.error("checkpoint not written", ["pod": "\(identity.key)", "error": "\(error)"])
        }
    }
}
