import Glibc
import Reactor

/// This machine's cgroup trees, and the mount namespace in which crun accepts them.
///
/// crun 1.8 takes a machine where both v1 controllers and a v2 tree are mounted (systemd's "hybrid" layout) for a v2 machine and
/// then finds no controllers. In a mount namespace without the v2 tree it sees what it can use. Pods' cgroups are the same either way.
final class CgroupHost: Sendable {
    let hierarchy: CgroupHierarchy
    /// Entered by every process of the OCI runtime; nil where the daemon's own will do. Open as long as this object.
    let mountNamespace: CInt?

    static let root = "/sys/fs/cgroup"

    /// Detects the layout and makes the mount namespace. Blocks; once at start.
    ///
    /// - Parameter run: made if needed, and shared with that namespace: what is mounted below it later is seen there, too.
    init(run: String) throws {
        try Directory.make(run, mode: 0o700)
        try MountPoint.makeShared(run)
        hierarchy = Self.detect()
        guard case .legacy(let unified?) = hierarchy else {
            mountNamespace = nil
            return
        }
        let slot = FileDescriptorSlot()
        try onThread {
            try Linux.unshare(Linux.newMountNamespace, "mount namespace")
            try MountPoint.makeAllSlaves()
            MountPoint.remove(unified)
            let fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC)
            guard fd >= 0 else { throw SystemError(errno: errno, call: "open", subject: "/proc/thread-self/ns/mnt") }
            slot.fd = fd
        }
        mountNamespace = slot.fd
    }

    deinit { if let mountNamespace { close(mountNamespace) } }

    static func detect() -> CgroupHierarchy {
        if Linux.fileSystemType(root) == Linux.cgroup2Magic { return .unified }
        let beside = root + "/unified"
        return .legacy(unifiedMount: Linux.fileSystemType(beside) == Linux.cgroup2Magic ? beside : nil)
    }

    /// Removes a cgroup with all below it from every tree; those that still hold processes stay.
    func remove(_ path: String) {
        let trees: [String]
        switch hierarchy {
        case .unified: trees = [Self.root]
        case .legacy: trees = Directory.names(Self.root).map { "\(Self.root)/\($0)" }
        }
        for tree in trees { Self.remove(folder: tree + path) }
    }

    private static func remove(folder: String) {
        for name in Directory.names(folder) where Files.isDirectory("\(folder)/\(name)") {
            remove(folder: "\(folder)/\(name)")
        }
        rmdir(folder)
    }
}

/// Carries one descriptor out of a thread that is joined before it is read.
private final class FileDescriptorSlot: @unchecked Sendable {
    var fd: CInt = -1
}

/// Runs `body` on a thread of its own and waits for it: for the start of the program, when no loop runs yet.
func onThread(_ body: @escaping @Sendable () throws -> Void) throws {
    let job = JoinedJob(body)
    var thread = pthread_t()
    let status = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<JoinedJob>.fromOpaque(argument).takeUnretainedValue().run() }
            return nil
        }, Unmanaged.passUnretained(job).toOpaque())
    guard status == 0 else { throw OffLoopError(errno: status) }
    pthread_join(thread, nil)
    if let error = job.error { throw error }
}

/// Written by one thread, read by the one that joined it.
private final class JoinedJob: @unchecked Sendable {
    private let body: @Sendable () throws -> Void
    private(set) var error: (any Error)?

    init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }

    func run() { do { try body() } catch { self.error = error } }
}
