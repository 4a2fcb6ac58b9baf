import Glibc
import Reactor

/// What is mounted where, in this process's view.
enum MountTable {
    struct Mount: Hashable {
        var path: String
        var type: String
    }

    /// In the order in which they were mounted.
    static func read() -> [Mount] {
        guard let text = try? Files.readText("/proc/self/mountinfo", limit: 64 << 20) else { return [] }
        return text.split(separator: "\n").compactMap { line in
            // "36 35 98:0 /root /path options - type source options" (proc(5)); optional fields end at the dash.
            let fields = line.split(separator: " ")
            guard fields.count > 8, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { return nil }
            return Mount(path: unescape(fields[4]), type: String(fields[dash + 1]))
        }
    }

    /// Unmounts everything at and below `directory`, the latest first. False when something stays.
    static func clear(_ directory: String) -> Bool {
        let inside = read().filter { $0.path == directory || $0.path.hasPrefix(directory + "/") }
        for mount in inside.reversed() { umount2(mount.path, CInt(MNT_DETACH)) }
        return read().allSatisfy { $0.path != directory && !$0.path.hasPrefix(directory + "/") }
    }

    /// The kernel writes blanks and backslashes as three octal digits.
    private static func unescape(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var bytes: [UInt8] = []
        var rest = field.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            else {
                bytes.append(byte)
                continue
            }
            bytes.append(code)
            rest = rest.dropFirst(3)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
