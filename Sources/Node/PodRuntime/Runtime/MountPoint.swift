import Glibc
import Reactor

/// The mount calls that pods need.
enum MountPoint {
    private static func call(
        _ source: String, _ target: String, _ type: String?, _ flags: UInt, _ options: String?, _ what: String
    ) throws(SystemError) {
        guard mount(source, target, type, flags, options) == 0 else {
            throw SystemError(errno: errno, call: what, subject: target)
        }
    }

    private static let bindFlag: UInt = 4096
    private static let recursive: UInt = 16384
    private static let slave: UInt = 1 << 19
    private static let shared: UInt = 1 << 20
    private static let noSUID: UInt = 2
    private static let noDevices: UInt = 4
    /// MNT_DETACH
    private static let detach: Int32 = 2

    static func bind(_ source: String, to target: String) throws(SystemError) {
        try call(source, target, nil, bindFlag, nil, "bind mount")
    }

    /// - Parameter size: bytes; nil takes the kernel's default of half the memory.
    static func tmpfs(at target: String, size: UInt64?, mode: String) throws(SystemError) {
        let options = "mode=\(mode)" + (size.map { ",size=\($0)" } ?? "")
        try call("tmpfs", target, "tmpfs", noSUID | noDevices, options, "tmpfs mount")
    }

    static func overlay(at target: String, lower: String, upper: String, work: String) throws(SystemError) {
        try call(
            "overlay", target, "overlay", 0, "lowerdir=\(lower),upperdir=\(upper),workdir=\(work)", "overlay mount")
    }

    /// Makes `path` a mount point of its own whose mounts appear in copies of this mount namespace, too. Nothing when it is already.
    static func makeShared(_ path: String) throws(SystemError) {
        if !isMounted(path) { try bind(path, to: path) }
        try call("none", path, nil, shared, nil, "make shared")
    }

    /// In the calling thread's mount namespace: changes from its origin still come in, none go out.
    static func makeAllSlaves() throws(SystemError) {
        try call("none", "/", nil, slave | recursive, nil, "make slave")
    }

    /// Takes the mount away now, or as soon as nobody uses it; no error when nothing is mounted there.
    static func remove(_ path: String) {
        // Several mounts may lie over one another after a crash.
        for _ in 0..<8 { if umount2(path, Self.detach) != 0 { break } }
    }

    /// Whether something is mounted on just this path, by the kernel's own list.
    static func isMounted(_ path: String) -> Bool {
        guard let resolved = Directory.resolved(path) else { return false }
        return all().contains(resolved)
    }

    /// All mount points of this mount namespace, in mount order.
    static func all() -> [String] {
        guard let bytes = try? Files.read("/proc/self/mountinfo", limit: 64 << 20) else { return [] }
        var result: [String] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
            if fields.count > 4 { result.append(unescaped(fields[4])) }
        }
        return result
    }

    /// The kernel writes blanks and backslashes of paths as three octal digits.
    private static func unescaped(_ field: ArraySlice<UInt8>) -> String {
        var out: [UInt8] = []
        var i = field.startIndex
        while i < field.endIndex {
            if field[i] == UInt8(ascii: "\\"), i + 3 < field.endIndex {
                let digits = field[(i + 1)...(i + 3)].map { Int($0) - 48 }
                if digits.allSatisfy({ (0..<8).contains($0) }) {
                    out.append(UInt8(truncatingIfNeeded: digits[0] * 64 + digits[1] * 8 + digits[2]))
                    i += 4
                    continue
                }
            }
            out.append(field[i])
            i += 1
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Takes away every mount below a folder, the newest first.
    static func removeAll(below folder: String) {
        guard let folder = Directory.resolved(folder) else { return }
        for path in all().reversed() where path.hasPrefix(folder + "/") { remove(path) }
    }
}
