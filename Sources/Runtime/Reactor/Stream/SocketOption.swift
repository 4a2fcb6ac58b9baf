import CLinux
import Glibc

/// One option of a socket as `setsockopt` takes it, and when it is set.
public struct SocketOption: Hashable, Sendable {
    public enum Stage: Hashable, Sendable { case beforeBind, bound, listening }

    public var level: CInt
    public var name: CInt
    public var value: [UInt8]
    public var stage: Stage
    /// For errors.
    public var text: String

    public init(level: CInt, name: CInt, value: [UInt8], stage: Stage = .beforeBind, text: String = "") {
        self.level = level
        self.name = name
        self.value = value
        self.stage = stage
        self.text = text.isEmpty ? "socket option \(level)/\(name)" : text
    }

    public init(level: CInt, name: CInt, _ number: CInt, stage: Stage = .beforeBind, text: String = "") {
        let value = withUnsafeBytes(of: number) { Array($0) }
        self.init(level: level, name: name, value: value, stage: stage, text: text)
    }

    /// Carries connections to any address, for TPROXY; needs CAP_NET_ADMIN. `IP_TRANSPARENT` is taken by both families' sockets.
    public static let transparent = SocketOption(level: 0, name: 19, 1, text: "IP_TRANSPARENT")

    /// Its packets bear this mark (SO_MARK), for routes and netfilter; needs CAP_NET_ADMIN.
    public static func mark(_ mark: UInt32) -> SocketOption {
        SocketOption(level: SOL_SOCKET, name: SO_MARK, CInt(bitPattern: mark), text: "SO_MARK")
    }

    /// Connections with a first request in their SYN (RFC 7413) that may wait.
    public static func fastOpen(_ queue: CInt) -> SocketOption {
        SocketOption(level: CInt(IPPROTO_TCP), name: TCP_FASTOPEN, queue, stage: .listening, text: "TCP_FASTOPEN")
    }

    /// TCP's own probes of a silent connection; accepted sockets inherit them. Seconds; nil is the kernel's default.
    public static func keepAlive(probes: UInt32?, time: UInt32?, interval: UInt32?) -> [SocketOption] {
        func option(_ level: CInt, _ name: CInt, _ number: UInt32?, _ text: String) -> SocketOption? {
            number.map { SocketOption(level: level, name: name, CInt(clamping: $0), stage: .bound, text: text) }
        }
        return [
            option(SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"),
            option(CInt(IPPROTO_TCP), TCP_KEEPCNT, probes, "TCP_KEEPCNT"),
            option(CInt(IPPROTO_TCP), TCP_KEEPIDLE, time, "TCP_KEEPIDLE"),
            option(CInt(IPPROTO_TCP), TCP_KEEPINTVL, interval, "TCP_KEEPINTVL"),
        ].compactMap { $0 }
    }

    func apply(to fd: CInt) throws(SystemError) {
        let result = value.withUnsafeBytes { setsockopt(fd, level, name, $0.baseAddress, socklen_t($0.count)) }
        guard result == 0 else { throw .last("setsockopt", text) }
    }
}
