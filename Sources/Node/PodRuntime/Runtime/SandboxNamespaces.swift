import Glibc
import Reactor

/// A pod's network, IPC and UTS namespaces: files that they are bound to keep them alive, so no process has to.
struct SandboxNamespaces: Sendable {
    /// Empty for a namespace that is the node's.
    var network: String
    var ipc: String
    var uts: String
    /// Shared memory of all containers, mounted at /dev/shm.
    var sharedMemory: String

    /// Bytes; what Docker gives.
    static let sharedMemorySize: UInt64 = 64 << 20

    init(directory: String, hostNetwork: Bool, hostIPC: Bool) {
        network = hostNetwork ? "" : directory + "/net"
        ipc = hostIPC ? "" : directory + "/ipc"
        uts = directory + "/uts"
        sharedMemory = directory + "/shm"
    }

    /// Makes them. Runs on a thread that ends right after: it is left inside the new namespaces.
    func create(hostname: String, sysctls: [PodSecurity.Sysctl]) throws {
        try Directory.make(sharedMemory)
        try MountPoint.tmpfs(at: sharedMemory, size: Self.sharedMemorySize, mode: "1777")
        var flags = Linux.newUTSNamespace
        if !network.isEmpty { flags |= Linux.newNetworkNamespace }
        if !ipc.isEmpty { flags |= Linux.newIPCNamespace }
        try Linux.unshare(flags, uts)
        guard sethostname(hostname, hostname.utf8.count) == 0 else {
            throw SystemError(errno: errno, call: "sethostname", subject: hostname)
        }
        for (path, name) in [(network, "net"), (ipc, "ipc"), (uts, "uts")] where !path.isEmpty {
            try Directory.touch(path)
            try MountPoint.bind("/proc/thread-self/ns/\(name)", to: path)
        }
        for sysctl in sysctls { try Self.write(sysctl) }
    }

    /// Only what a namespace of the pod holds may be set; anything else would change the node.
    private static func write(_ sysctl: PodSecurity.Sysctl) throws {
        let name = sysctl.name
        let isNamespaced =
            name.hasPrefix("net.") || name.hasPrefix("fs.mqueue.") || name.hasPrefix("kernel.shm")
            || name.hasPrefix("kernel.msg") || name == "kernel.sem"
        guard isNamespaced, !name.contains("/"), !name.contains("..") else {
            throw SandboxError(description: "sysctl \"\(name)\" does not belong to a pod's namespaces")
        }
        let path = "/proc/sys/" + name.split(separator: ".").joined(separator: "/")
        let fd = open(path, O_WRONLY | O_CLOEXEC)
        guard fd >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        defer { close(fd) }
        let bytes = Array(sysctl.value.utf8)
        guard Glibc.write(fd, bytes, bytes.count) == bytes.count else {
            throw SystemError(errno: errno, call: "write", subject: path)
        }
    }

    /// Whether the files still hold namespaces: after a restart of the machine they are empty files, or gone.
    var exist: Bool {
        [network, ipc, uts].allSatisfy { path in
            path.isEmpty || Linux.fileSystemType(path) == Linux.namespaceMagic
        }
    }

    static func remove(directory: String) {
        for name in ["net", "ipc", "uts", "shm"] { MountPoint.remove("\(directory)/\(name)") }
        try? Files.removeTree(directory)
    }
}

/// A pod's namespaces could not be made as asked.
struct SandboxError: Error, CustomStringConvertible {
    var description: String
}
