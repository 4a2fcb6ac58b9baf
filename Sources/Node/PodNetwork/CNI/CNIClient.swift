import Bytes
import Glibc
import JSON
import Reactor

/// The plugin's end of the CNI socket, in blocking calls: the plugin has nothing else to do.
public enum CNIClient {
    /// How long, in seconds, the daemon may take for its answer. The kernel's part is about a millisecond; behind it may stand
    /// other pods of a full node.
    static let timeout = 60

    /// The daemon's reply; nil when no daemon listens at `socket`.
    public static func send(_ call: CNICall, to socket: String) throws -> CNIReply? {
        guard let descriptor = try connect(socket) else { return nil }
        defer { close(descriptor) }
        try write(CNIFrame.write(call.json), to: descriptor, socket)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            switch bytes.withUnsafeBytes(CNIFrame.read) {
            case .complete(let json):
                guard let reply = CNIReply(json: json) else { throw malformed(socket) }
                return reply
            case .malformed: throw malformed(socket)
            case .incomplete: break
            }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError(errno: errno, call: "recv", subject: socket) }
            guard count > 0 else {
                throw CNIError(.tryAgainLater, "the weft daemon went away during the call", details: socket)
            }
            bytes += chunk[..<count]
        }
    }

    private static func malformed(_ socket: String) -> CNIError {
        CNIError(
            .inputOutput, "the daemon's reply cannot be read", details: "is it another program's socket? \(socket)")
    }

    private static func connect(_ path: String) throws -> CInt? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { target -> Bool in
            guard bytes.count < target.count else { return false }
            target.copyBytes(from: bytes)
            return true
        }
        guard fits else {
            throw CNIError(.invalidConfiguration, "the socket's path is too long", details: "field \"socket\": \(path)")
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw SystemError(errno: errno, call: "socket", subject: path) }
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status != 0 else { return descriptor }
        let reason = errno
        close(descriptor)
        if reason == ENOENT || reason == ECONNREFUSED || reason == ENOTDIR { return nil }
        throw SystemError(errno: reason, call: "connect", subject: path)
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt, _ path: String) throws {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.map { $0 + offset }, bytes.count - offset, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError(errno: errno, call: "send", subject: path) }
            offset += count
        }
    }
}
