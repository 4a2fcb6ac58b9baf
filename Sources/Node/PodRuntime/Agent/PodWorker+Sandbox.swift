import Bytes
import ClusterAPI
import Reactor

/// A pod's namespaces, network and files: made once, taken away last.
extension PodWorker {
    func createSandbox(_ attempt: Int64) async {
        let spec = lifecycle.spec
        let id = ContainerID.fresh()
        let (context, started) = (context, MonotonicTime.now())
        do {
            if !spec.hostNetwork, let reason = await context.network.unavailable() {
                throw SandboxError(description: "network is not ready: \(reason)")
            }
            let namespaces = SandboxNamespaces(
                directory: context.paths.sandbox(id), hostNetwork: spec.hostNetwork, hostIPC: spec.hostIPC)
            // What drivers have to ask others for takes its time meanwhile. Where it fails, the first container's start tells.
            let volumes = task { try? await $0.publishDrivenVolumes() }
            try await offLoop {
                try namespaces.create(
                    hostname: HostsFile.hostname(of: spec, node: context.nodeName), sysctls: spec.security.sysctls)
            }
            var addresses = context.hostIPs
            if !spec.hostNetwork {
                addresses = try await context.network.attach(sandbox: id, namespace: namespaces.network, pod: spec)
            }
            let host = ResolverConfig(parsing: (try? Files.readText("/etc/resolv.conf", limit: 64 << 10)) ?? "")
            let resolver = ResolverConfig.forPod(
                spec, clusterDNS: context.clusterDNS, clusterDomain: context.clusterDomain, host: host)
            try PodFiles(paths: context.paths, pod: spec).write(
                podIPs: addresses, resolver: resolver, clusterDomain: context.clusterDomain, node: context.nodeName)
            await volumes.value
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

    func removeSandbox(_ facts: SandboxFacts?) async {
        discardPrepared()
        // Containers leave the cgroup and the namespaces first.
        while deletions > 0 { try? await context.loop.sleep(for: .milliseconds(5)) }
        if let facts { await removeSandbox(facts.id) }
        let (runtime, path) = (runtime, CgroupPlan.podPath(lifecycle.spec, root: context.cgroupRoot))
        try? await offLoop { runtime.cgroups.remove(path) }
        lifecycle.sandboxRemoved()
        pump()
    }

    func removeSandbox(_ id: String) async {
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
}
