import CLinux
import Glibc

/// The pattern of `--log-format`, in the flags of spdlog that Envoy's documentation names: `%v` the message, `%l` and `%L` the
/// level, `%n` the component, `%t` and `%P` thread and process, `%g`, `%s` and `%#` file and line, `%@` both, and of the local
/// time `%Y %y %m %d %H %M %S %T %D %e %f %F %E %z`.
struct LogFormat: Sendable {
    private enum Piece: Sendable {
        case text(String)
        case flag(Character)
    }
    private var pieces: [Piece] = []

    init(_ pattern: String) {
        var rest = pattern[...]
        var text = ""
        while let character = rest.popFirst() {
            guard character == "%", let flag = rest.popFirst() else {
                text.append(character)
                continue
            }
            // Envoy's own: the message escaped, and paddings; the message is escaped here anyway.
            if flag == "%" {
                text.append("%")
                continue
            }
            if !text.isEmpty { pieces.append(.text(text)) }
            text = ""
            pieces.append(.flag(flag == "j" ? "v" : flag))
        }
        if !text.isEmpty { pieces.append(.text(text)) }
    }

    /// A line with its end. Line ends within the message become `\n`, so that a line is an entry.
    func line(_ component: ProxyLog.Component, _ level: ProxyLog.Level, _ message: String, file: String, line: UInt)
        -> String
    {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var local = tm()
        localtime_r(&time.tv_sec, &local)
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let text = "\(value)"
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        var out = ""
        for piece in pieces {
            switch piece {
            case .text(let text): out += text
            case .flag("v"):
                out += message.utf8.contains(UInt8(ascii: "\n")) ? message.replacing("\n", with: "\\n") : message
            case .flag("l"): out += "\(level)"
            case .flag("L"): out += "\(level)".prefix(1).uppercased()
            case .flag("n"): out += component.rawValue
            case .flag("t"): out += "\(gettid())"
            case .flag("P"): out += "\(getpid())"
            case .flag("g"): out += file
            case .flag("s"): out += file.split(separator: "/").last.map(String.init) ?? file
            case .flag("#"): out += "\(line)"
            case .flag("@"): out += "\(file):\(line)"
            case .flag("Y"): out += "\(local.tm_year + 1900)"
            case .flag("y"): out += padded(local.tm_year % 100, 2)
            case .flag("m"): out += padded(local.tm_mon + 1, 2)
            case .flag("d"): out += padded(local.tm_mday, 2)
            case .flag("H"): out += padded(local.tm_hour, 2)
            case .flag("M"): out += padded(local.tm_min, 2)
            case .flag("S"): out += padded(local.tm_sec, 2)
            case .flag("T"): out += "\(padded(local.tm_hour, 2)):\(padded(local.tm_min, 2)):\(padded(local.tm_sec, 2))"
            case .flag("D"):
                out += "\(padded(local.tm_mon + 1, 2))/\(padded(local.tm_mday, 2))/\(padded(local.tm_year % 100, 2))"
            case .flag("e"): out += padded(time.tv_nsec / 1_000_000, 3)
            case .flag("f"): out += padded(time.tv_nsec / 1000, 6)
            case .flag("F"): out += padded(time.tv_nsec, 9)
            case .flag("E"): out += "\(time.tv_sec)"
            case .flag("z"):
                let minutes = abs(local.tm_gmtoff) / 60
                out += "\(local.tm_gmtoff < 0 ? "-" : "+")\(padded(minutes / 60, 2)):\(padded(minutes % 60, 2))"
            case .flag(let other): out += "%\(other)"
            }
        }
        return out + "\n"
    }
}
