import CLinux
import Glibc
import Reactor

/// A network namespace of a test's own, with its loopback up; goes with the last of what is in it.
final class NetworkNamespaceFile: Sendable {
    /// Whether tests may make some and redirect in them.
    static let isAvailable = getuid() == 0 && access("/usr/sbin/nft", X_OK) == 0

    private let descriptor: CInt

    /// For programs; valid as long as this object.
    var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    init() throws { descriptor = try NetworkNamespace.make() }

    deinit { close(descriptor) }

    /// The calling thread stays in it for good: for loops' threads, whose sockets are to be there.
    func enter() throws {
        guard setns(descriptor, 0x4000_0000) == 0 else { throw Unexpected("setns: errno \(errno)") }
    }

    /// Runs a shell script inside.
    func run(_ script: String, on loop: EventLoop) async throws {
        var configuration = ChildProcess.Configuration(["sh", "-ec", script])
        configuration.networkNamespace = descriptor
        let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60))
        guard output.status.isSuccess else { throw Unexpected("\(script): \(output.errorText)") }
    }
}
