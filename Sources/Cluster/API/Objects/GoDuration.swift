extension Duration {
    /// As Go writes durations: `1h30m`, `10s`, `1.5s`, `200ms`, `-5s`. nil for anything else.
    public init?(goText text: String) {
        var total = Duration.zero
        var rest = text[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest = rest.dropFirst() }
        guard !rest.isEmpty else { return nil }
        if rest == "0" {
            self = .zero
            return
        }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !$0.isNumber && $0 != "." }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(number), value < 1e9 else { return nil }
            switch unit {
            case "h": total += .seconds(value * 3600)
            case "m": total += .seconds(value * 60)
            case "s": total += .seconds(value)
            case "ms": total += .milliseconds(value)
            case "us", "µs", "μs": total += .microseconds(value)
            case "ns": total += .nanoseconds(Int64(value))
            default: return nil
            }
        }
        self = isNegative ? .zero - total : total
    }

    /// As Go prints it: `24h0m0s`, `1m30s`, `250ms`, `0s`.
    public var goText: String {
        let (seconds, attoseconds) = components
        let nanoseconds = attoseconds / 1_000_000_000
        if seconds < 0 || nanoseconds < 0 { return "-" + (.zero - self).goText }
        if seconds == 0 {
            switch nanoseconds {
            case 0: return "0s"
            case ..<1000: return "\(nanoseconds)ns"
            case ..<1_000_000: return Self.decimal(nanoseconds, digits: 3) + "µs"
            default: return Self.decimal(nanoseconds, digits: 6) + "ms"
            }
        }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60)
        let rest = Self.decimal(seconds % 60 * 1_000_000_000 + nanoseconds, digits: 9) + "s"
        if hours > 0 { return "\(hours)h\(minutes)m" + rest }
        return minutes > 0 ? "\(minutes)m" + rest : rest
    }

    /// A number with its point moved left, and without zeros at its end.
    private static func decimal(_ value: Int64, digits: Int) -> String {
        var unit: Int64 = 1
        for _ in 0..<digits { unit *= 10 }
        var fraction = String(value % unit)
        guard value % unit != 0 else { return String(value / unit) }
        fraction = String(repeating: "0", count: digits - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(value / unit).\(fraction)"
    }
}
