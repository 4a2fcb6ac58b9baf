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
    private let context: NodeContext
    private let runtime: OCIRuntime
    private let metrics: NodeMetrics
    private let log: Log
    /// Called once, when nothing of the pod is left on this node.
    private let onFinished: @Sendable (PodIdentity) -> Void

    private(set) var lifecycle: PodLifecycle
    /// The object as last seen from the server.
    private(set) var pod: JSONValue
    private var savedState: JSONValue?
    private var timer: Task<Void, Never>?
    /// When the present timer rings.
    private var wakeAt: Timestamp?
    private var deletions = 0
    private var volumes = VolumeProgress()
    private var publishing = Publishing()
    private var isTornDown = false
    private var isFinished = false

    private struct VolumeProgress {
        var refreshedAt: Timestamp?
        var tokens: [String: (text: String, renewAt: Timestamp)] = [:]
        var refresh: Task<Void, Never>?
    }

    private struct Publishing {
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
    var runningIDs: [String] { lifecycle.state.containers.values.compactMap { $0.running?.id } }

    // MARK: The pump

    /// Does what is next until nothing is; never waits.
    private func pump() {
        guard !isFinished else { return }
        let plan = lifecycle.next(now: .now())
        for step in plan.steps { perform(step) }
        save()
        publish()
        arm(plan.wakeAt)
    }

    private func arm(_ moment: Timestamp?) {
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

    private func timerRang(_ moment: Timestamp) {
        guard wakeAt == moment else { return }
        timer = nil
        wakeAt = nil
        pump()
    }

    @discardableResult
    private func task(_ body: @escaping @Sendable (PodWorker) async -> Void) -> Task<Void, Never> {
        Task(executorPreference: context.loop) { await body(self) }
    }

    private func perform(_ step: PodLifecycle.Step) {
        switch step {
        case .createSandbox(let attempt): task { await $0.createSandbox(attempt) }
        case .start(let container, let attempt): task { await $0.start(container, attempt) }
        case .hook(let container, let hook, let action): task { await $0.run(hook, action, of: container) }
        case .probe(let container, let kind, let probe): task { await $0.ask(kind, probe, of: container) }
        case .signal(let container, let signal): send(signal, to: container)
        case .removeSandbox(let facts): task { await $0.removeSandbox(facts) }
        case .report(let report): self.report(report)
        }
    }

    private func report(_ report: PodLifecycle.Report) { context.events.record(pod, report) }

    private func report(_ reason: String, _ message: String, isWarning: Bool = false, container: String? = nil) {
        report(PodLifecycle.Report(isWarning: isWarning, reason: reason, message: message, container: container))
    }

    private func save() {
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

    // MARK: Sandbox

    private func createSandbox(_ attempt: Int64) async {
        let spec = lifecycle.spec
        let id = ContainerID.fresh()
        let (context, started) = (context, MonotonicTime.now())
        do {
            if !spec.hostNetwork, let reason = await context.network.unavailable() {
                throw SandboxError(description: "network is not ready: \(reason)")
            }
            let namespaces = SandboxNamespaces(
                directory: context.paths.sandbox(id), hostNetwork: spec.hostNetwork, hostIPC: spec.hostIPC)
            try await offLoop {
                try namespaces.create(
                    hostname: HostsFile.hostname(of: spec, node: context.nodeName), sysctls: spec.security.sysctls)
            }
            var addresses = context.hostIPs
            if !spec.hostNetwork {
                addresses = try await context.network.attach(sandbox: id, namespace: namespaces.network, pod: identity)
            }
            let host = ResolverConfig(parsing: (try? Files.readText("/etc/resolv.conf", limit: 64 << 10)) ?? "")
            let resolver = ResolverConfig.forPod(
                spec, clusterDNS: context.clusterDNS, clusterDomain: context.clusterDomain, host: host)
            try PodFiles(paths: context.paths, pod: spec).write(
                podIPs: addresses, resolver: resolver, clusterDomain: context.clusterDomain, node: context.nodeName)
            lifecycle.sandboxReady(
                SandboxFacts(
                    id: id, networkPath: namespaces.network, ipcPath: namespaces.ipc, utsPath: namespaces.uts,
                    podIPs: addresses, createdAt: .now()))
            metrics.sandboxStart.observe(MonotonicTime.now().duration(since: started))
        } catch  where Self.isEnding(error) {
            return
        } catch {
            await removeSandbox(id)
            report("FailedCreatePodSandBox", "Failed to create pod sandbox: \(error)", isWarning: true)
            lifecycle.sandboxFailed("\(error)", now: .now())
        }
        pump()
    }

    private func removeSandbox(_ facts: SandboxFacts?) async {
        // Containers leave the cgroup and the namespaces first.
        while deletions > 0 { try? await context.loop.sleep(for: .milliseconds(5)) }
        if let facts { await removeSandbox(facts.id) }
        let (runtime, path) = (runtime, CgroupPlan.podPath(lifecycle.spec, root: context.cgroupRoot))
        try? await offLoop { runtime.cgroups.remove(path) }
        lifecycle.sandboxRemoved()
        pump()
    }

    private func removeSandbox(_ id: String) async {
        let directory = context.paths.sandbox(id)
        let namespace = directory + "/net"
        if !lifecycle.spec.hostNetwork {
            for attempt in 1...Self.detachAttempts {
                do {
                    try await context.network.detach(sandbox: id, namespace: namespace, pod: identity)
                    break
                } catch {
                    log.warning(
                        "network not detached",
                        ["pod": "\(identity.key)", "attempt": "\(attempt)", "error": "\(error)"])
                    try? await context.loop.sleep(for: .seconds(1))
                }
            }
        }
        try? await offLoop { SandboxNamespaces.remove(directory: directory) }
    }

    /// After them the sandbox goes anyway; the network's own reconciliation finds what is left.
    static let detachAttempts = 5

    // MARK: Containers

    private func start(_ name: String, _ attempt: Int64) async {
        let spec = lifecycle.spec
        guard let container = spec.container(named: name), let sandbox = lifecycle.state.sandboxFacts else { return }
        let started = MonotonicTime.now()
        let id = ContainerID.fresh()
        do {
            switch ImageVerdict(container) {
            case .present:
                report("Pulled", "Container image \"\(container.image)\" already present on machine", container: name)
            case .absent(let reason, let message):
                throw StartError(
                    .image(reason: reason, message: message), "Failed to pull image \"\(container.image)\": \(message)")
            }
            do {
                try await prepareVolumes()
            } catch {
                report("FailedMount", "\(error)", isWarning: true)
                throw StartError(.volume("\(error)"), nil)
            }
            let bundle = ContainerBundle(
                id: id, pod: spec, container: container, attempt: attempt,
                environment: try await environment(of: container), sandbox: sandbox, paths: context.paths,
                hierarchy: runtime.cgroups.hierarchy, cgroupRoot: context.cgroupRoot,
                nodeMemory: context.capacity.memory ?? 0,
                hiddenPaths: context.hiddenPaths)
            do {
                try await offLoop { try bundle.write() }
            } catch let error as ContainerBundle.Failure {
                throw StartError(.configuration(error.description), "Error: \(error)")
            } catch {
                throw StartError(.preparation("\(error)"), "Error: \(error)")
            }
            report("Created", "Created container: \(name)", container: name)
            let pid: Int32
            do {
                pid = try await runtime.start(id, log: bundle.logFile, terminal: container.tty)
            } catch  where !Self.isEnding(error) {
                throw StartError(.command("\(error)"), "Error: \(error)")
            }
            lifecycle.containerStarted(name, id: id, pid: pid, at: .now())
            report("Started", "Started container \(name)", container: name)
            metrics.containerStart.observe(MonotonicTime.now().duration(since: started))
            watch(name, id: id, pid: pid)
            removeOldLogs(of: name, keeping: attempt)
        } catch  where Self.isEnding(error) {
            return
        } catch {
            let failure = (error as? StartError) ?? StartError(.preparation("\(error)"), "Error: \(error)")
            delete(id)
            if let message = failure.event { report("Failed", message, isWarning: true, container: name) }
            lifecycle.startFailed(name, failure.failure, now: .now())
        }
        pump()
    }

    /// Failures because this agent's loop ends say nothing about the pod; the next agent finds what is there.
    private static func isEnding(_ error: any Error) -> Bool {
        error is CancellationError || (error as? SystemError)?.errno == ECANCELED
    }

    private struct StartError: Error {
        var failure: PodLifecycle.StartFailure
        var event: String?

        init(_ failure: PodLifecycle.StartFailure, _ event: String?) {
            self.failure = failure
            self.event = event
        }
    }

    private func environment(of container: ContainerSpec) async throws -> [(name: String, value: String)] {
        var configMaps: [String: [String: String]] = [:]
        var secrets: [String: [String: String]] = [:]
        func text(_ json: JSONValue, isSecret: Bool) -> [String: String] {
            VolumePayload.content(json, isSecret: isSecret).mapValues { String(decoding: $0, as: UTF8.self) }
        }
        for name in container.referencedConfigMaps {
            let key = ObjectKey(namespace: identity.namespace, name: name)
            if let object = try await context.objects.configMap(key) {
                configMaps[name] = text(object, isSecret: false)
            }
        }
        for name in container.referencedSecrets {
            let key = ObjectKey(namespace: identity.namespace, name: name)
            if let object = try await context.objects.secret(key) { secrets[name] = text(object, isSecret: true) }
        }
        let builder = EnvironmentBuilder(
            pod: lifecycle.spec, container: container, facts: facts, nodeCapacity: context.capacity,
            serviceVariables: ServiceVariables.build(
                await context.objects.services(), namespace: identity.namespace,
                enableServiceLinks: lifecycle.spec.enableServiceLinks),
            configMap: { configMaps[$0] }, secret: { secrets[$0] })
        do {
            return try builder.build()
        } catch {
            throw StartError(.configuration("\(error)"), "Error: \(error)")
        }
    }

    private var facts: PodFacts {
        PodFacts(
            podIPs: lifecycle.state.sandboxFacts?.podIPs ?? [], hostIPs: context.hostIPs, nodeName: context.nodeName)
    }

    private func watch(_ name: String, id: String, pid: Int32) {
        let loop = context.loop
        task { worker in
            await ProcessWatch.end(of: pid, on: loop)
            await worker.ended(name, id: id)
        }
    }

    /// The container's first process is gone: waits for the supervisor's record, and takes the rest away.
    private func ended(_ name: String, id: String) async {
        guard let container = lifecycle.spec.container(named: name), lifecycle.state[name].running?.id == id else {
            return
        }
        let deadline = MonotonicTime.now().adding(Self.exitRecordTimeout)
        var record = runtime.exit(of: id)
        while record == nil, MonotonicTime.now() < deadline {
            try? await context.loop.sleep(for: .milliseconds(5))
            record = runtime.exit(of: id)
        }
        let attempt = lifecycle.state[name].restartCount
        if let record {
            let message = TerminationMessage.read(
                file: "\(context.paths.container(identity.uid, name))/\(attempt).termination",
                log: context.paths.logFile(identity, name, attempt: attempt),
                fallsBackToLog: container.terminationMessageFromLogs,
                code: record.code)
            lifecycle.containerExited(
                name, code: record.code, reason: record.outOfMemory ? "OOMKilled" : nil, message: message,
                finishedAt: record.finishedAt, id: id)
        } else {
            lifecycle.containerExited(
                name, code: 137, reason: "ContainerStatusUnknown",
                message: "the container's supervisor ended before it; how the container ended is not known",
                finishedAt: .now(), id: id)
        }
        metrics.containerExits.increment()
        delete(id)
        pump()
    }

    /// Takes away what a container left, in the background.
    private func delete(_ id: String) {
        deletions += 1
        let runtime = runtime
        task { worker in
            do {
                try await runtime.delete(id)
            } catch {
                worker.log.warning("container not removed", ["container": id, "error": "\(error)"])
            }
            await worker.deletionEnded()
        }
    }

    private func deletionEnded() { deletions -= 1 }

    /// The run before the present one can still be asked for (`--previous`); older ones go.
    private func removeOldLogs(of name: String, keeping attempt: Int64) {
        guard attempt >= 2 else { return }
        let folder = context.paths.containerLogs(identity, name)
        for file in Directory.names(folder) {
            if let number = file.split(separator: ".").first.flatMap({ Int64($0) }), number < attempt - 1 {
                unlink("\(folder)/\(file)")
            }
        }
        let container = context.paths.container(identity.uid, name)
        for file in Directory.names(container) {
            if let number = file.split(separator: ".").first.flatMap({ Int64($0) }), number < attempt - 1 {
                unlink("\(container)/\(file)")
            }
        }
    }

    private func send(_ signal: PodLifecycle.Signal, to name: String) {
        guard let container = lifecycle.spec.container(named: name), let running = lifecycle.state[name].running,
            runtime.process(of: running.id) == running.pid
        else { return }
        kill(running.pid, signal == .kill ? SIGKILL : SignalName.number(container.stopSignal))
    }

    // MARK: Probes and hooks

    private func prober(_ name: String) -> Prober? {
        guard let container = lifecycle.spec.container(named: name), let running = lifecycle.state[name].running else {
            return nil
        }
        return Prober(
            container: container, containerID: running.id, address: facts.podIPs.first ?? context.hostIPs.first ?? "",
            loop: context.loop, exec: { [runtime] in try await runtime.exec(running.id, $0, timeout: $1) })
    }

    private func ask(_ kind: ProbeKind, _ probe: ProbeSpec, of name: String) async {
        guard let prober = prober(name) else { return }
        let answer = await prober.run(probe.action, timeout: .seconds(probe.timeout))
        metrics.probes[kind.rawValue, answer.success ? "successful" : "failed"].increment()
        let reports = lifecycle.probeAnswered(
            name, kind, success: answer.success, output: answer.output, id: prober.containerID, now: .now())
        for report in reports { self.report(report) }
        pump()
    }

    private func run(_ hook: PodLifecycle.Hook, _ action: ActionSpec, of name: String) async {
        guard let prober = prober(name) else { return }
        // A preStop that takes longer than the grace period is overtaken by the life cycle; this bound only ends the task.
        let limit: Duration = hook == .preStop ? .seconds(lifecycle.spec.terminationGracePeriod + 2) : .seconds(3600)
        let answer = await prober.run(action, timeout: limit)
        let reports = lifecycle.hookFinished(
            name, hook, error: answer.success ? nil : answer.output, id: prober.containerID, now: .now())
        for report in reports { self.report(report) }
        pump()
    }

    // MARK: Volumes

    private func prepareVolumes() async throws {
        let spec = lifecycle.spec
        guard !spec.volumes.isEmpty else { return }
        if let at = volumes.refreshedAt, Timestamp.now() - at < Self.volumeRefresh { return }
        try await refreshVolumes()
        guard volumes.refresh == nil,
            spec.volumes.contains(where: { if case .files = $0.source { true } else { false } })
        else {
            return
        }
        volumes.refresh = task { await $0.keepVolumesFresh() }
    }

    private func keepVolumesFresh() async {
        while !isTornDown, !Task.isCancelled {
            // Spread, so that the pods of a node do not all ask at once.
            let delay = Self.volumeRefresh * Double.random(in: 0.8..<1)
            do { try await context.loop.sleep(for: delay) } catch { return }
            guard lifecycle.state.termination == nil else { continue }
            do {
                try await refreshVolumes()
            } catch {
                log.warning("volume not refreshed", ["pod": "\(identity.key)", "error": "\(error)"])
            }
        }
    }

    private func refreshVolumes() async throws {
        let spec = lifecycle.spec
        let now = Timestamp.now()
        var objects: [String: VolumePayload.Objects] = [:]
        for volume in spec.volumes {
            guard case .files(let sources, _) = volume.source else { continue }
            var found = VolumePayload.Objects()
            for source in sources {
                switch source {
                case .configMap(let name, _, _):
                    let object = try await context.objects.configMap(
                        ObjectKey(namespace: identity.namespace, name: name))
                    found.configMaps[name] = object.map { VolumePayload.content($0, isSecret: false) }
                case .secret(let name, _, _):
                    let object = try await context.objects.secret(ObjectKey(namespace: identity.namespace, name: name))
                    found.secrets[name] = object.map { VolumePayload.content($0, isSecret: true) }
                case .downward: break
                case .token(let path, let audience, let expiration):
                    let key = "\(volume.name)/\(path)"
                    if let known = volumes.tokens[key], now < known.renewAt {
                        found.tokens[path] = known.text
                    } else {
                        let text = try await context.objects.token(
                            for: spec, audience: audience, expiration: expiration)
                        // Renewed when a fifth of its life is left.
                        volumes.tokens[key] = (text, now.adding(seconds: expiration / 5 * 4))
                        found.tokens[path] = text
                    }
                }
            }
            objects[volume.name] = found
        }
        let (mounts, facts, capacity, found) = (
            PodVolumes(paths: context.paths, pod: spec), facts, context.capacity, objects
        )
        let stamp = now.rfc3339Nano
        try await offLoop { try mounts.setUp(found, facts: facts, capacity: capacity, stamp: stamp) }
        volumes.refreshedAt = now
    }

    // MARK: The server

    private func publish() {
        guard !publishing.isUnderWay, !isFinished else { return }
        if publishing.isGone {
            if lifecycle.isGone { tearDown() }
            return
        }
        let status = PodStatus.build(lifecycle, hostIPs: context.hostIPs, previous: pod["status"], now: .now())
        if status == publishing.sent || PodStatus.isContained(status, in: pod["status"]) {
            if lifecycle.isGone, lifecycle.spec.deletion != nil { tearDown() }
            return
        }
        publishing.isUnderWay = true
        task { await $0.send(status) }
    }

    private static func version(_ pod: JSONValue) -> Int64 {
        pod["metadata"]?["resourceVersion"]?.string.flatMap { Int64($0) } ?? 0
    }

    private func send(_ status: JSONValue) async {
        do {
            if let updated = try await context.objects.patchStatus(identity, status) {
                pod = updated
                publishing.sent = status
            } else {
                publishing.isGone = true
            }
            publishing.failures = 0
        } catch {
            publishing.failures += 1
            let delay = PodLifecycle.retryDelay(publishing.failures)
            log.debug("pod status not sent", ["pod": "\(identity.key)", "error": "\(error)"])
            try? await context.loop.sleep(for: delay)
        }
        publishing.isUnderWay = false
        publish()
    }

    /// All processes and namespaces are gone; now the files, then the object.
    private func tearDown() {
        guard !isTornDown else { return }
        isTornDown = true
        timer?.cancel()
        volumes.refresh?.cancel()
        task { await $0.finishTearDown() }
    }

    private func finishTearDown() async {
        while deletions > 0 { try? await context.loop.sleep(for: .milliseconds(5)) }
        let (mounts, folder) = (PodVolumes(paths: context.paths, pod: lifecycle.spec), context.paths.pod(identity.uid))
        do {
            try await offLoop {
                try mounts.tearDown()
                try Files.removeTree(folder)
            }
        } catch {
            log.warning("pod folder not removed", ["pod": "\(identity.key)", "error": "\(error)"])
        }
        var failures = 0
        while !publishing.isGone {
            do {
                try await context.objects.confirmDeletion(identity)
                break
            } catch {
                failures += 1
                log.debug("deletion not confirmed", ["pod": "\(identity.key)", "error": "\(error)"])
                try? await context.loop.sleep(for: PodLifecycle.retryDelay(failures))
            }
        }
        finish()
    }

    private func finish() {
        guard !isFinished else { return }
        isFinished = true
        let (logs, flat, prefix) = (
            context.paths.podLogs(identity), context.paths.flatLogs, "\(identity.name)_\(identity.namespace)_"
        )
        for name in Directory.names(flat) where name.hasPrefix(prefix) { unlink("\(flat)/\(name)") }
        try? Files.removeTree(logs)
        onFinished(identity)
    }

    // MARK: Logs

    /// Puts long log files aside.
    func rotateLogs(stamp: String) {
        for (name, container) in lifecycle.state.containers {
            guard let running = container.running else { continue }
            let file = context.paths.logFile(identity, name, attempt: container.restartCount)
            do {
                if try LogRotation.rotate(file, stamp: stamp) { try runtime.reopenLog(running.id) }
            } catch {
                log.warning("log not rotated", ["file": file, "error": "\(error)"])
            }
        }
    }

    /// The file that holds a container's log, and whether more may come; nil when the container has no such run.
    func logFile(of name: String, previous: Bool) -> (path: String, isLive: Bool)? {
        guard lifecycle.spec.container(named: name) != nil else { return nil }
        let own = lifecycle.state[name]
        let attempt = own.restartCount - (previous ? 1 : 0)
        guard attempt >= 0 else { return nil }
        return (context.paths.logFile(identity, name, attempt: attempt), !previous && own.isActive)
    }
}

extension ContainerSpec {
    /// Names of the ConfigMaps that the environment is made from.
    var referencedConfigMaps: Set<String> {
        var names: Set<String> = []
        for entry in envFrom { if case .configMap(let name) = entry.source { names.insert(name) } }
        for entry in env { if case .configMap(let name, _, _) = entry.source { names.insert(name) } }
        return names
    }

    var referencedSecrets: Set<String> {
        var names: Set<String> = []
        for entry in envFrom { if case .secret(let name) = entry.source { names.insert(name) } }
        for entry in env { if case .secret(let name, _, _) = entry.source { names.insert(name) } }
        return names
    }
}

enum SignalName {
    private static let numbers: [String: CInt] = [
        "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "KILL": SIGKILL, "USR1": SIGUSR1, "USR2": SIGUSR2,
        "TERM": SIGTERM,
        "WINCH": SIGWINCH, "CONT": SIGCONT, "STOP": SIGSTOP, "ALRM": SIGALRM, "PWR": SIGPWR,
    ]

    /// SIGTERM for what has no such name.
    static func number(_ name: String) -> CInt {
        let plain = name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name
        if let number = numbers[plain] { return number }
        // RTMIN+3 is how systemd is asked to stop.
        if plain.hasPrefix("RTMIN+"), let offset = CInt(plain.dropFirst(6)), (0...30).contains(offset) {
            return 34 + offset
        }
        return SIGTERM
    }
}
