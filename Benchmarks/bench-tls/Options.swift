import Bytes

/// `--name value` among words: all that a benchmark's command line needs.
struct Options: Sendable {
    private(set) var words: [String] = []
    private var values: [String: String] = [:]

    init(_ arguments: some Sequence<String>) {
        var name: String?
        for argument in arguments {
            if argument.hasPrefix("--") {
                name = String(argument.dropFirst(2))
            } else if let option = name {
                values[option] = argument
                name = nil
            } else {
                words.append(argument)
            }
        }
    }

    func number(_ name: String, _ standard: Int) -> Int {
        values[name].flatMap { UInt32(decimal: $0.utf8) }.map(Int.init) ?? standard
    }

    func text(_ name: String) -> String { values[name] ?? "" }
}
