import CLinux
import Glibc
import Reactor

/// The Linux calls of this room that Swift's `Glibc` does not have.
enum Linux {
    static let newMountNamespace: CInt = 0x0002_0000
    static let newUTSNamespace: CInt = 0x0400_0000
    static let newIPCNamespace: CInt = 0x0800_0000
    static let newNetworkNamespace: CInt = 0x4000_0000

    /// `statfs` types.
    static let cgroup2Magic = 0x6367_7270
    static let namespaceMagic = 0x6e73_6673

    static func unshare(_ flags: CInt, _ subject: String) throws(SystemError) {
        guard CLinux.unshare(flags) == 0 else { throw SystemError(errno: errno, call: "unshare", subject: subject) }
    }

    /// A descriptor that becomes readable when the process ends; negative when there is no such process.
    static func openProcess(_ pid: Int32) -> CInt { weft_pidfd_open(pid) }

    /// The kind of file system that a path is on; nil when it does not exist.
    static func fileSystemType(_ path: String) -> Int? {
        var info = statfs()
        return statfs(path, &info) == 0 ? Int(info.f_type) : nil
    }
}
