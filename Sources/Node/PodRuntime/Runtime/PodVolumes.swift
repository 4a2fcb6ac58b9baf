import ClusterAPI
import Glibc
import JSON
import Reactor

/// A pod's volumes on this node: made before its containers start, brought up to date while they run, taken away after them.
struct PodVolumes: Sendable {
    var paths: NodePaths
    var pod: PodSpec

    /// The volume cannot be given to the pod (yet).
    struct Failure: Error, CustomStringConvertible {
        var volume: String
        var reason: String
        var description: String { "MountVolume.SetUp failed for volume \"\(volume)\" : \(reason)" }
    }

    /// Room beyond the content for the old and the new copy side by side, and the kernel's own.
    private static let fileVolumeSize = UInt64(VolumePayload.sizeLimit) * 2 + (4 << 20)

    /// Where a volume is; nil for one that the pod does not have.
    func path(of name: String) -> String? {
        guard let volume = pod.volumes.first(where: { $0.name == name }) else { return nil }
        return switch volume.source {
        case .hostPath(let path, _): path
        case .emptyDir(let inMemory, _): inMemory ? memoryPath(name) : paths.diskVolume(pod.identity.uid, name)
        case .files, .driven, .unsupported: memoryPath(name)
        }
    }

    private func memoryPath(_ name: String) -> String { "\(paths.memoryVolumes(pod.identity.uid))/\(name)" }

    /// Makes every volume, or brings it to the present content. Safe to repeat. Blocking.
    func setUp(
        _ objects: [String: VolumePayload.Objects], facts: PodFacts, capacity: ResourceRequirements.Amounts,
        stamp: String
    ) throws {
        for volume in pod.volumes {
            do {
                try setUp(volume, objects[volume.name] ?? VolumePayload.Objects(), facts, capacity, stamp)
            } catch let error as Failure {
                throw error
            } catch {
                throw Failure(volume: volume.name, reason: "\(error)")
            }
        }
    }

    private func setUp(
        _ volume: VolumeSpec, _ objects: VolumePayload.Objects, _ facts: PodFacts,
        _ capacity: ResourceRequirements.Amounts,
        _ stamp: String
    ) throws {
        let group = pod.security.fsGroup
        switch volume.source {
        case .emptyDir(let inMemory, let limit):
            let path = inMemory ? memoryPath(volume.name) : paths.diskVolume(pod.identity.uid, volume.name)
            if Directory.exists(path), !inMemory || MountPoint.isMounted(path) { return }
            try Directory.make(path, mode: 0o777)
            if inMemory { try MountPoint.tmpfs(at: path, size: limit, mode: "1777") }
            if let group {
                guard chown(path, uid_t.max, group) == 0, chmod(path, 0o2777) == 0 else {
                    throw SystemError(errno: errno, call: "chown", subject: path)
                }
            }
        case .files(let sources, let defaultMode):
            let payload = try VolumePayload(
                sources, defaultMode: defaultMode, pod: pod, facts: facts, capacity: capacity, objects: objects)
            let path = memoryPath(volume.name)
            if !Directory.exists(path) || !MountPoint.isMounted(path) {
                // Secrets do not touch the disk.
                try Directory.make(path)
                try MountPoint.tmpfs(at: path, size: Self.fileVolumeSize, mode: "0755")
            }
            try AtomicVolume(directory: path, group: group).write(payload, stamp: stamp)
        case .hostPath(let path, let type):
            try Self.checkHostPath(path, type)
        case .driven: try Directory.make(memoryPath(volume.name))
        case .unsupported(let kind):
            throw Failure(volume: volume.name, reason: "volumes of kind \(kind) are not supported on this node")
        }
    }

    private static func checkHostPath(_ path: String, _ type: String) throws {
        func isOf(_ kind: mode_t) -> Bool {
            var info = stat()
            return stat(path, &info) == 0 && info.st_mode & S_IFMT == kind
        }
        let holds: Bool
        switch type {
        case "", "Unset": holds = path.hasPrefix("/")
        case "DirectoryOrCreate":
            if !Directory.exists(path) { try Directory.make(path) }
            holds = isOf(S_IFDIR)
        case "Directory": holds = isOf(S_IFDIR)
        case "FileOrCreate":
            if !Directory.exists(path) { try Directory.touch(path) }
            holds = isOf(S_IFREG)
        case "File": holds = isOf(S_IFREG)
        case "Socket": holds = isOf(S_IFSOCK)
        case "CharDevice": holds = isOf(S_IFCHR)
        case "BlockDevice": holds = isOf(S_IFBLK)
        default: holds = false
        }
        guard holds else { throw SandboxError(description: "hostPath type check failed: \(path) is not a \(type)") }
    }

    /// What a mount of a container binds, with its sub-path made and checked.
    func source(of mount: VolumeMount, subPath: String) throws -> String {
        guard let path = path(of: mount.volume) else {
            throw Failure(volume: mount.volume, reason: "the pod has no such volume")
        }
        guard !subPath.isEmpty else {
            if !Directory.exists(path) { try Directory.make(path) }
            return path
        }
        guard !subPath.hasPrefix("/"), !subPath.split(separator: "/").contains("..") else {
            throw Failure(
                volume: mount.volume, reason: "subPath \"\(subPath)\" must be relative and must not contain \"..\"")
        }
        let whole = "\(path)/\(subPath)"
        if !Directory.exists(whole) { try Directory.make(whole) }
        // What the pod itself wrote into the volume may be a link that leads out of it.
        guard let root = Directory.resolved(path), let target = Directory.resolved(whole),
            target == root || target.hasPrefix(root + "/")
        else { throw Failure(volume: mount.volume, reason: "subPath \"\(subPath)\" leads out of the volume") }
        return target
    }

    /// Takes away what `setUp` made; what the pod mounted from the node stays.
    func tearDown() throws {
        let memory = paths.memoryVolumes(pod.identity.uid)
        for name in Directory.names(memory) { MountPoint.remove("\(memory)/\(name)") }
        try Files.removeTree(memory)
        try Files.removeTree("\(paths.pod(pod.identity.uid))/volumes")
    }
}
