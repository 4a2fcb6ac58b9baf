import Glibc
import Bytes
import Reactor

/// A socket's file as a killed process leaves it.
enum StaleSocket {
    static func leave(_ path: String) throws {
        unlink(path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        let status = try SocketAddress.unix(path: path).withKernelAddress { (pointer, length) in
            bind(descriptor, pointer, length)
        }
        guard status == 0 else { throw SystemError(errno: errno, call: "bind", subject: path) }
    }
}
