import Glibc
import Reactor

/// A folder whose sockets can be bound however long its path is: a socket's address has room for 107 bytes, and a pod's volume may
/// be deeper than that.
final class SocketFolder: Sendable {
    private let path: String
    private let descriptor: CInt

    /// `O_PATH` (open(2)), which Glibc's module hides.
    private static let pathOnly: CInt = 0o10_000_000

    /// - Throws: `SystemError` where it is no folder.
    init(_ path: String) throws(SystemError) {
        self.path = path
        descriptor = Glibc.open(path, Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open", path) }
    }

    deinit { Glibc.close(descriptor) }

    /// Where to bind a socket of that name, while this object lives.
    func address(_ name: String) -> String {
        let plain = "\(path)/\(name)"
        return plain.utf8.count <= 107 ? plain : "/proc/self/fd/\(descriptor)/\(name)"
    }
}
