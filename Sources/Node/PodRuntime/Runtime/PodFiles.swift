import Reactor

/// The files that every pod has under its folder: what its containers see as /etc/hosts, /etc/hostname and /etc/resolv.conf.
struct PodFiles {
    var paths: NodePaths
    var pod: PodSpec

    /// Blocking.
    func write(podIPs: [String], resolver: ResolverConfig, clusterDomain: String, node: String) throws {
        let folder = paths.pod(pod.identity.uid)
        try Directory.make(folder, mode: 0o755)
        let hostFile = pod.hostNetwork ? (try? Files.read("/etc/hosts", limit: 1 << 20)) ?? [] : []
        let hosts = HostsFile.text(
            for: pod, podIPs: podIPs, clusterDomain: clusterDomain, node: node,
            hostFile: String(decoding: hostFile, as: UTF8.self))
        try put("\(folder)/etc-hosts", hosts)
        try put("\(folder)/etc-hostname", HostsFile.hostname(of: pod, node: node) + "\n")
        try put("\(folder)/etc-resolv.conf", resolver.text)
    }

    private func put(_ path: String, _ text: String) throws {
        try Files.writeAtomically(path, Array(text.utf8), mode: 0o644, sync: false)
    }
}
