import Bytes
import Glibc
import Reactor

/// Who listens on a TCP port of this namespace.
enum PortHolder {
    /// A description of the listener that stands in the way of one at `address`; nil when nobody does.
    static func of(_ port: UInt16, at address: IPAddress) -> String? {
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            guard let text = try? Files.readText(table) else { continue }
            for line in text.split(separator: "\n").dropFirst() {
                let fields = line.split(separator: " ")
                // "sl local rem st …": state 0A is LISTEN, field 9 the socket's inode.
                guard fields.count > 9, fields[3] == "0A" else { continue }
                let local = fields[1].split(separator: ":")
                guard local.count == 2, UInt16(local[1], radix: 16) == port, overlaps(local[0], address) else {
                    continue
                }
                return owner(inode: String(fields[9])) ?? "another program"
            }
        }
        return nil
    }

    /// Whether a listener at `hex` (as the kernel prints an address: 32-bit words in host order) takes what is sent to `address`.
    private static func overlaps(_ hex: Substring, _ address: IPAddress) -> Bool {
        if hex.allSatisfy({ $0 == "0" }) { return true }
        guard hex.count == 8, let word = UInt32(hex, radix: 16) else { return false }
        return IPAddress(v4: word.byteSwapped) == address
    }

    private static func owner(inode: String) -> String? {
        let wanted = "socket:[\(inode)]"
        for name in (try? Files.list("/proc")) ?? [] {
            guard let id = pid_t(name), let descriptors = try? Files.list("/proc/\(id)/fd") else { continue }
            for descriptor in descriptors where link("/proc/\(id)/fd/\(descriptor)") == wanted {
                let command = (try? Files.readText("/proc/\(id)/comm", limit: 256))?.split(separator: "\n").first
                return "process \(id) (\(command ?? "?"))"
            }
        }
        return nil
    }

    private static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        let count = readlink(path, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }
}
