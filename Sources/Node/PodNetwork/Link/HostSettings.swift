import Glibc
import Reactor

/// The kernel's switches that a pod network depends on. `/proc/sys/net` shows the namespace of the thread that opens it.
enum HostSettings {
    /// Forwarding, without which a node carries nothing for its pods.
    static func apply() throws {
        try set("net/ipv4/ip_forward", "1")
        // A kernel without IPv6 has no such file, and pods without IPv6 need none.
        try? set("net/ipv6/conf/all/forwarding", "1")
    }

    /// A pod sends from its own address or not at all: the reverse path check, strict, costs nothing here because the only way
    /// back is the veth.
    static func applyToPodLink(_ interface: String) {
        try? set("net/ipv4/conf/\(interface)/rp_filter", "1")
        try? set("net/ipv6/conf/\(interface)/accept_ra", "0")
    }

    /// Replies may come by another way than requests leave (a node port answered through the tunnel): loose.
    static func applyToUnderlay(_ interface: String) {
        try? set("net/ipv4/conf/\(interface)/rp_filter", "2")
    }

    static func applyToTunnel(_ interface: String) {
        applyToUnderlay(interface)
        try? set("net/ipv6/conf/\(interface)/accept_ra", "0")
    }

    private static func set(_ name: String, _ value: String) throws {
        let path = "/proc/sys/" + name
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError(errno: errno, call: "open", subject: path) }
        defer { close(descriptor) }
        let written = value.utf8CString.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count - 1) }
        guard written > 0 else { throw SystemError(errno: errno, call: "write", subject: path) }
    }
}
