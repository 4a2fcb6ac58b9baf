import Glibc

/// Colour, on a terminal alone, and not where `NO_COLOR` is set (no-color.org).
enum Style {
    case good, bad, doubtful, quiet

    private static let isOn =
        isatty(STDOUT_FILENO) == 1 && (getenv("NO_COLOR").map { $0.pointee == 0 } ?? true)
        && getenv("TERM").map { String(cString: $0) } != "dumb"

    func callAsFunction(_ text: String) -> String {
        guard Self.isOn else { return text }
        let code =
            switch self {
            case .good: "32"
            case .bad: "31"
            case .doubtful: "33"
            case .quiet: "2"
            }
        return "\u{1B}[\(code)m\(text)\u{1B}[0m"
    }
}
