/// The words of a command line, taken one flag after the other: `--name value` or `--name=value`.
public struct FlagReader {
    private var rest: ArraySlice<String>
    private var name = ""
    /// What stood behind the name's equals sign, until it is taken.
    private var attached: String?

    public init(_ arguments: some Sequence<String>) { rest = Array(arguments)[...] }

    /// The next flag as it was typed, dashes included; nil at the end.
    ///
    /// - Throws: for a word that is no flag, and where the last flag was given a value that nobody took.
    public mutating func nextName() throws(FlagError) -> String? {
        if let attached { throw FlagError("\(name) takes no value, but got \"\(attached)\"") }
        guard let argument = rest.popFirst() else { return nil }
        guard argument.hasPrefix("-") else { throw FlagError("unexpected argument \"\(argument)\"") }
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        name = String(parts[0])
        attached = parts.count == 2 ? String(parts[1]) : nil
        return name
    }

    /// The value of the flag that was named last.
    public mutating func value() throws(FlagError) -> String {
        if let attached {
            self.attached = nil
            return attached
        }
        guard let next = rest.popFirst() else { throw FlagError("\(name) needs a value") }
        return next
    }

    public mutating func number(_ range: ClosedRange<Int>) throws(FlagError) -> Int {
        let text = try value()
        guard let number = Int(text), range.contains(number) else {
            throw FlagError("\(name): \"\(text)\" is no number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}

/// What is wrong with a command line, in a sentence that names the flag.
public struct FlagError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
