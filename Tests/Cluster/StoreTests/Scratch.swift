import Glibc

/// A directory of a test's own, removed with everything in it when the test lets go.
final class Scratch: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/weft-store-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        for name in ["store.db", "store.db-wal", "store.db-shm", "store.db-journal", "acknowledged"] {
            unlink(path + "/" + name)
        }
        rmdir(path)
    }

    var file: String { path + "/store.db" }
}
