import Bytes
import ClusterAPI
import Glibc
import JSON
import Reactor

/// What the API server is told: status, and in the end that nothing is left.
extension PodWorker {
    func publish() {
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

    static func version(_ pod: JSONValue) -> Int64 {
        pod["metadata"]?["resourceVersion"]?.string.flatMap { Int64($0) } ?? 0
    }

    func send(_ status: JSONValue) async {
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
    func tearDown() {
        guard !isTornDown else { return }
        isTornDown = true
        timer?.cancel()
        volumes.refresh?.cancel()
        task { await $0.finishTearDown() }
    }

    func finishTearDown() async {
        while deletions > 0 { try? await context.loop.sleep(for: .milliseconds(5)) }
        await unpublishDrivenVolumes()
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

    func finish() {
        guard !isFinished else { return }
        isFinished = true
        let (logs, flat, prefix) = (
            context.paths.podLogs(identity), context.paths.flatLogs, "\(identity.name)_\(identity.namespace)_"
        )
        for name in Directory.names(flat) where name.hasPrefix(prefix) { unlink("\(flat)/\(name)") }
        try? Files.removeTree(logs)
        onFinished(identity)
    }
}
