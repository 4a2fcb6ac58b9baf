import Bytes
import ClusterAPI
import Glibc
import JSON
import Reactor

/// Containers: started, watched, signalled, and taken away.
extension PodWorker {
    func start(_ name: String, _ attempt: Int64) async {
        let spec = lifecycle.spec
        guard let container = spec.container(named: name), let sandbox = lifecycle.state.sandboxFacts else { return }
        let started = MonotonicTime.now()
        var id: String?
        do {
            switch ImageVerdict(container) {
            case .present:
                report("Pulled", "Container image \"\(container.image)\" already present on machine", container: name)
            case .absent(let reason, let message):
                throw StartError(
                    .image(reason: reason, message: message), "Failed to pull image \"\(container.image)\": \(message)")
            }
            let created: CreatedContainer
            if let prepared = try await takePrepared(container, attempt) {
                created = prepared
                id = created.id
                report("Created", "Created container: \(name)", container: name)
            } else {
                let bundle = try await bundle(container, attempt, sandbox)
                id = bundle.id
                created = try await create(bundle) { report("Created", "Created container: \(name)", container: name) }
            }
            do {
                try await runtime.start(created.id)
            } catch  where !Self.isEnding(error) {
                throw StartError(.command("\(error)"), "Error: \(error)")
            }
            ahead.remove(created.id)
            lifecycle.containerStarted(name, id: created.id, pid: created.pid, at: .now())
            report("Started", "Started container \(name)", container: name)
            metrics.containerStart.observe(MonotonicTime.now().duration(since: started))
            watch(name, id: created.id, pid: created.pid)
            removeOldLogs(of: name, keeping: attempt)
        } catch  where Self.isEnding(error) {
            return
        } catch {
            let failure = (error as? StartError) ?? StartError(.preparation("\(error)"), "Error: \(error)")
            if let id { delete(id) }
            if case .volume(let message) = failure.failure { report("FailedMount", message, isWarning: true) }
            if let message = failure.event { report("Failed", message, isWarning: true, container: name) }
            lifecycle.startFailed(name, failure.failure, now: .now())
        }
        pump()
    }

    /// What a container is made from, under a name of its own.
    func bundle(_ container: ContainerSpec, _ attempt: Int64, _ sandbox: SandboxFacts) async throws -> ContainerBundle {
        do {
            try await prepareVolumes()
        } catch  where !Self.isEnding(error) {
            throw StartError(.volume("\(error)"), nil)
        }
        return ContainerBundle(
            id: ContainerID.fresh(), pod: lifecycle.spec, container: container, attempt: attempt,
            environment: try await environment(of: container), sandbox: sandbox, paths: context.paths,
            hierarchy: runtime.cgroups.hierarchy, cgroupRoot: context.cgroupRoot,
            nodeMemory: context.capacity.memory ?? 0, hiddenPaths: context.hiddenPaths)
    }

    /// Makes the container up to its first instruction. What it left when it failed is for the caller to delete.
    ///
    /// - Parameter isWritten: called when all that does not concern the runtime is there.
    func create(_ bundle: ContainerBundle, isWritten: () -> Void = {}) async throws -> CreatedContainer {
        do {
            try await offLoop { try bundle.write() }
        } catch let error as ContainerBundle.Failure {
            throw StartError(.configuration(error.description), "Error: \(error)")
        } catch {
            throw StartError(.preparation("\(error)"), "Error: \(error)")
        }
        isWritten()
        do {
            let pid = try await runtime.create(bundle.id, log: bundle.logFile, terminal: bundle.container.tty)
            return CreatedContainer(bundle: bundle, pid: pid)
        } catch  where !Self.isEnding(error) {
            throw StartError(.command("\(error)"), "Error: \(error)")
        }
    }

    /// Failures because this agent's loop ends say nothing about the pod; the next agent finds what is there.
    static func isEnding(_ error: any Error) -> Bool {
        error is CancellationError || (error as? SystemError)?.errno == ECANCELED
    }

    struct StartError: Error {
        var failure: PodLifecycle.StartFailure
        var event: String?

        init(_ failure: PodLifecycle.StartFailure, _ event: String?) {
            self.failure = failure
            self.event = event
        }
    }

    func environment(of container: ContainerSpec) async throws -> [(name: String, value: String)] {
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

    var facts: PodFacts {
        PodFacts(
            podIPs: lifecycle.state.sandboxFacts?.podIPs ?? [], hostIPs: context.hostIPs, nodeName: context.nodeName)
    }

    func watch(_ name: String, id: String, pid: Int32) {
        let loop = context.loop
        task { worker in
            await ProcessWatch.end(of: pid, on: loop)
            await worker.ended(name, id: id)
        }
    }

    /// The container's first process is gone: waits for the supervisor's record, and takes the rest away.
    func ended(_ name: String, id: String) async {
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
    func delete(_ id: String) {
        deletions += 1
        ahead.remove(id)
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

    func deletionEnded() { deletions -= 1 }

    /// The run before the present one can still be asked for (`--previous`); older ones go.
    func removeOldLogs(of name: String, keeping attempt: Int64) {
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

    func send(_ signal: PodLifecycle.Signal, to name: String) {
        guard let container = lifecycle.spec.container(named: name), let running = lifecycle.state[name].running,
            runtime.process(of: running.id) == running.pid
        else { return }
        kill(running.pid, signal == .kill ? SIGKILL : SignalName.number(container.stopSignal))
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
