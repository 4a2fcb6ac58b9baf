import Glibc
import Reactor

/// A folder of a test's own, removed with everything in it when the test lets go.
public final class ScratchFolder: Sendable {
    public let path: String

    public init() throws {
        let base = Environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(base)/weft-test-XXXXXX".utf8CString)
        guard
            let made = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!).map { String(cString: $0) } })
        else { throw SystemError(errno: errno, call: "mkdtemp", subject: base) }
        path = made
    }

    deinit { try? Files.removeTree(path) }
}
