import ClusterAPI
import Glibc
import JSON
import Reactor

/// Turns one container of a pod into a bundle on disk that the OCI runtime can start.
struct ContainerBundle: Sendable {
    var id: String
    var pod: PodSpec
    var container: ContainerSpec
    var attempt: Int64
    var environment: [(name: String, value: String)]
    var sandbox: SandboxFacts
    var paths: NodePaths
    var hierarchy: CgroupHierarchy
    var cgroupRoot: String
    var nodeMemory: UInt64
    var hiddenPaths: [String]

    /// The container's own configuration makes no sense.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    var logFile: String { paths.logFile(pod.identity, container.name, attempt: attempt) }
    var terminationFile: String { "\(paths.container(pod.identity.uid, container.name))/\(attempt).termination" }

    /// Writes files and mounts the root; blocking. What it made is taken away by `OCIRuntime.delete`.
    func write() throws {
        let user = try self.user()
        let lookUp = { (name: String) in environment.last { $0.name == name }?.value }
        var arguments = (container.command + container.args).map { EnvironmentBuilder.expand($0, lookUp) }
        if container.command.isEmpty, container.args.isEmpty { arguments = [] }
        guard !arguments.isEmpty else {
            throw Failure(description: "no command specified: the image \(container.image) has none of its own")
        }
        let bundle = paths.bundle(id)
        try Directory.make(bundle, mode: 0o700)
        try Directory.make(Directory.parent(of: logFile))
        try Directory.make(Directory.parent(of: terminationFile), mode: 0o700)
        try Directory.touch(terminationFile, mode: 0o666)
        try HostImage.mountRoot(bundle: bundle)
        let config = OCIConfig(
            arguments: arguments, environment: withDefaults(lookUp), workingDirectory: container.workingDirectory,
            user: user,
            security: container.security, rootPath: HostImage.rootPath(bundle: bundle), isRootReadOnly: true,
            mounts: try mounts(lookUp),
            namespaces: OCIConfig.Namespaces(
                network: sandbox.networkPath.isEmpty ? nil : sandbox.networkPath,
                ipc: sandbox.ipcPath.isEmpty ? nil : sandbox.ipcPath,
                uts: sandbox.utsPath.isEmpty ? nil : sandbox.utsPath,
                hasOwnPID: !pod.hostPID),
            cgroupPath: "\(CgroupPlan.podPath(pod, root: cgroupRoot))/\(id)", resources: container.resources,
            oomScoreAdjust: CgroupPlan.oomScoreAdjust(pod, container, nodeMemory: nodeMemory), hiddenPaths: hiddenPaths,
            cgroups: hierarchy,
            annotations: [
                "io.kubernetes.pod.namespace": pod.identity.namespace, "io.kubernetes.pod.name": pod.identity.name,
                "io.kubernetes.pod.uid": pod.identity.uid, "io.kubernetes.container.name": container.name,
            ], terminal: container.tty)
        try Files.writeAtomically(bundle + "/config.json", config.json.encoded(), mode: 0o600, sync: false)
        try Directory.make(paths.flatLogs)
        try Directory.link(paths.flatLog(pod.identity, container.name, id: id), to: logFile)
    }

    private func user() throws -> OCIConfig.User {
        let uid = container.security.runAsUser ?? pod.security.runAsUser ?? 0
        if container.security.runAsNonRoot ?? pod.security.runAsNonRoot ?? false, uid == 0 {
            throw Failure(
                description: "container has runAsNonRoot and image will run as root (pod: \"\(pod.identity.name)_"
                    + "\(pod.identity.namespace)(\(pod.identity.uid))\", container: \(container.name))")
        }
        let gid = container.security.runAsGroup ?? pod.security.runAsGroup ?? HostImage.primaryGroup(of: uid)
        return OCIConfig.User(
            uid: uid, gid: gid, additional: pod.security.supplementalGroups + (pod.security.fsGroup.map { [$0] } ?? []))
    }

    private func withDefaults(_ value: (String) -> String?) -> [(name: String, value: String)] {
        var defaults: [(name: String, value: String)] = []
        if value("PATH") == nil { defaults.append(("PATH", HostImage.path)) }
        defaults.append(("HOSTNAME", HostsFile.hostname(of: pod, node: pod.nodeName)))
        if container.tty, value("TERM") == nil { defaults.append(("TERM", "xterm")) }
        return defaults + environment
    }

    private func mounts(_ value: (String) -> String?) throws -> [OCIConfig.Mount] {
        let folder = paths.pod(pod.identity.uid)
        let volumes = PodVolumes(paths: paths, pod: pod)
        var mounts: [OCIConfig.Mount] = [
            OCIConfig.Mount(source: "\(paths.sandbox(sandbox.id))/shm", destination: "/dev/shm", isReadOnly: false),
            OCIConfig.Mount(source: terminationFile, destination: container.terminationMessagePath, isReadOnly: false),
        ]
        let taken = Set(container.mounts.map(\.path))
        if let programs = HostImage.programsOnHost, !taken.contains(HostImage.programs) {
            mounts.append(OCIConfig.Mount(source: programs, destination: HostImage.programs, isReadOnly: true))
        }
        for name in ["hosts", "hostname", "resolv.conf"] where !taken.contains("/etc/\(name)") {
            mounts.append(
                OCIConfig.Mount(
                    source: "\(folder)/etc-\(name)", destination: "/etc/\(name)", isReadOnly: name == "hostname"))
        }
        // Parents before children, whatever their order in the pod.
        let depth = { (path: String) in path.split(separator: "/").count }
        for mount in container.mounts.sorted(by: { depth($0.path) < depth($1.path) }) {
            let subPath = mount.subPathIsExpression ? EnvironmentBuilder.expand(mount.subPath, value) : mount.subPath
            let propagation =
                switch mount.propagation {
                case "HostToContainer": "rslave"
                case "Bidirectional": "rshared"
                default: "rprivate"
                }
            mounts.append(
                OCIConfig.Mount(
                    source: try volumes.source(of: mount, subPath: subPath), destination: mount.path,
                    isReadOnly: mount.readOnly, propagation: propagation))
        }
        return mounts
    }
}
