/// A duration as the Gateway API writes it (GEP-2257): one to four numbers of at most five digits, each with `h`, `m`,
/// `s` or `ms`: `10s`, `1h30m`, `500ms`.
public struct GatewayDuration: Hashable, Sendable {
    public var milliseconds: Int64

    /// Nil for anything else, fractions and signs included.
    public init?(_ text: String) {
        var total: Int64 = 0
        var parts = 0
        var rest = text.utf8[...]
        while !rest.isEmpty {
            let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            guard (1...5).contains(digits.count), let number = Int64(String(digits) ?? "") else { return nil }
            rest = rest[digits.endIndex...]
            let unit = rest.prefix { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
            rest = rest[unit.endIndex...]
            switch String(unit) {
            case "h": total += number * 3_600_000
            case "m": total += number * 60_000
            case "s": total += number * 1000
            case "ms": total += number
            default: return nil
            }
            parts += 1
        }
        guard (1...4).contains(parts) else { return nil }
        milliseconds = total
    }
}
