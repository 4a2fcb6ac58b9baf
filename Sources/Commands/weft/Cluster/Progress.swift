import Glibc

/// What a person sees while it happens: one line a step, with its result and time.
final class Progress: @unchecked Sendable {
    // Used by one task after the other, never by two at once.
    private let start = Progress.now()
    private var step = Progress.now()
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private var pending = false

    /// Says what is being waited for; overwritten by the next line on a terminal, and not written elsewhere.
    func waiting(_ text: String) {
        guard isTerminal else { return }
        write("\r\u{1B}[K  … \(text)")
        pending = true
    }

    func done(_ text: String) {
        let now = Progress.now()
        clear()
        write("  ✓ \(text) (\(Progress.format(now - step)))\n")
        step = now
    }

    func failed(_ text: String) {
        clear()
        write("  ✗ \(text)\n")
    }

    var total: String { Progress.format(Progress.now() - start) }

    private func clear() {
        if pending { write("\r\u{1B}[K") }
        pending = false
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(STDOUT_FILENO, bytes, bytes.count)
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func format(_ seconds: Double) -> String {
        let tenths = Int(seconds * 100)
        return "\(tenths / 100).\(tenths % 100 < 10 ? "0" : "")\(tenths % 100) s"
    }
}

func currentDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
}
