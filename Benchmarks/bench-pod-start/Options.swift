/// Flags, all of which have defaults.
struct Options: Sendable {
    private let arguments: [String]
    init(_ arguments: [String]) { self.arguments = arguments }

    func number(_ name: String, _ standard: Int) -> Int {
        guard let index = arguments.firstIndex(of: "--\(name)"), index + 1 < arguments.count else { return standard }
        return Int(arguments[index + 1]) ?? standard
    }

    func has(_ name: String) -> Bool { arguments.contains("--\(name)") }
}
