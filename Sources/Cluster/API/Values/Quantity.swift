public import JSON

/// An amount as Kubernetes writes it: `250m`, `1.5Gi`, `2e3`.
///
/// Exact to a billionth; finer amounts are rounded away from zero. Amounts beyond what the format can hold (2⁶³−1
/// with binary suffixes, 10²⁸ otherwise) are cut to it.
public struct Quantity: Hashable, Sendable {
    /// Which family of suffixes the canonical text uses.
    public enum Format: UInt8, Sendable {
        /// `m`, `k`, `M`, …
        case decimal
        /// `Ki`, `Mi`, …
        case binary
        /// `e3`, `e6`, …
        case exponent
    }

    /// Billionths.
    private var nanos: Int128
    public var format: Format

    private static let nano: Int128 = 1_000_000_000
    /// In billionths; sums of two still fit 128 bits.
    private static func limit(_ format: Format) -> Int128 {
        format == .binary ? Int128(Int64.max) * nano : 10_000_000_000_000_000_000_000_000_000 * nano
    }
    /// Digits of a number that is read; each more would only be rounded or cut.
    private static let digitLimit = 64

    public static let zero = Quantity(0)

    public init(_ whole: Int64, _ format: Format = .decimal) {
        self.init(nanos: Int128(whole) * Self.nano, format)
    }

    /// Thousandths, as CPU is counted in.
    public init(milli: Int64) { self.init(nanos: Int128(milli) * 1_000_000, .decimal) }

    private init(nanos: Int128, _ format: Format) {
        let limit = Self.limit(format)
        self.nanos = min(max(nanos, -limit), limit)
        self.format = format
    }

    /// From a field: a string, or a bare number as clients may send it.
    public init?(json: JSONValue) {
        switch json {
        case .string(let text): self.init(text)
        case .int(let value): self.init(value)
        case .double(let value): self.init("\(value)")
        default: return nil
        }
    }

    /// Sign, digits with or without a point, and a suffix; nil for anything else.
    public init?(_ text: String) {
        var text = text
        guard let parsed = text.withUTF8({ Self.parse($0) }) else { return nil }
        self = parsed
    }

    /// The whole amount, rounded up.
    public var value: Int64 { clamped(roundedUp(Self.nano)) }

    /// Thousandths, rounded up; cut to 64 bits.
    public var milliValue: Int64 { clamped(roundedUp(1_000_000)) }

    /// Nearest double, for display and ratios.
    public var double: Double { Double(nanos) / 1e9 }

    public var isZero: Bool { nanos == 0 }
    public var isNegative: Bool { nanos < 0 }

    /// 1 for positive, -1 for negative amounts.
    public var sign: Int { nanos == 0 ? 0 : nanos < 0 ? -1 : 1 }

    public var json: JSONValue { .string(description) }

    /// Upstream rounds requests and limits so: to thousandths, away from zero.
    public var roundedToMilli: Quantity {
        let unit: Int128 = 1_000_000
        let (quotient, rest) = nanos.quotientAndRemainder(dividingBy: unit)
        return Quantity(nanos: (quotient + (rest == 0 ? 0 : nanos < 0 ? -1 : 1)) * unit, format)
    }

    /// The format stays that of the left side, unless that is zero.
    public static func + (a: Quantity, b: Quantity) -> Quantity {
        Quantity(nanos: a.nanos + b.nanos, a.isZero ? b.format : a.format)
    }

    public static func - (a: Quantity, b: Quantity) -> Quantity {
        Quantity(nanos: a.nanos - b.nanos, a.isZero ? b.format : a.format)
    }

    public static prefix func - (a: Quantity) -> Quantity { Quantity(nanos: -a.nanos, a.format) }

    public static func += (a: inout Quantity, b: Quantity) { a = a + b }
    public static func -= (a: inout Quantity, b: Quantity) { a = a - b }

    private func roundedUp(_ unit: Int128) -> Int128 {
        let (quotient, rest) = nanos.quotientAndRemainder(dividingBy: unit)
        return rest > 0 ? quotient + 1 : quotient
    }

    private func clamped(_ value: Int128) -> Int64 { Int64(clamping: value) }
}

/// By amount, whatever the format.
extension Quantity: Comparable {
    public static func == (a: Quantity, b: Quantity) -> Bool { a.nanos == b.nanos }
    public static func < (a: Quantity, b: Quantity) -> Bool { a.nanos < b.nanos }
    public func hash(into hasher: inout Hasher) { hasher.combine(nanos) }
}

extension Quantity: CustomStringConvertible {
    /// The canonical text: no fraction, the largest suffix that allows it.
    public var description: String {
        if nanos == 0 { return "0" }
        if format == .binary, nanos.magnitude >= Self.nano.magnitude * 1024, nanos % Self.nano == 0 {
            var mantissa = nanos / Self.nano
            var power = 0
            while mantissa % 1024 == 0, power < Self.binarySuffixes.count - 1 {
                mantissa /= 1024
                power += 1
            }
            return "\(Int64(mantissa))\(Self.binarySuffixes[power])"
        }
        var mantissa = nanos
        var power = -3
        while mantissa % 1000 == 0, power < 6 {
            mantissa /= 1000
            power += 1
        }
        // Up to 19 digits before the point with 9 behind it need more than 64 bits.
        let digits = Int64(exactly: mantissa).map { String($0) } ?? String(mantissa)
        if format == .exponent { return power == 0 ? digits : "\(digits)e\(3 * power)" }
        return digits + Self.decimalSuffixes[power + 3]
    }

    private static let decimalSuffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
    private static let binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
}

extension Quantity {
    /// What follows the digits: a power of ten or of two.
    private struct Suffix {
        var format: Format
        var tens = 0
        var twos = 0
    }

    private static func parse(_ bytes: UnsafeBufferPointer<UInt8>) -> Quantity? {
        var index = 0
        var isNegative = false
        if let first = bytes.first, first == UInt8(ascii: "+") || first == UInt8(ascii: "-") {
            isNegative = first == UInt8(ascii: "-")
            index = 1
        }
        var mantissa: Int128 = 0
        var fraction = 0
        var digits = 0
        var significant = 0
        var seenPoint = false
        var lostDigits = false
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: ".") {
                if seenPoint { return nil }
                seenPoint = true
            } else if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                digits += 1
                if digits > digitLimit { return nil }
                // 27 digits are more than a capped amount in billionths has.
                if significant < 27 {
                    mantissa = mantissa * 10 + Int128(byte - UInt8(ascii: "0"))
                    if mantissa > 0 { significant += 1 }
                    if seenPoint { fraction += 1 }
                } else {
                    if byte != UInt8(ascii: "0") { lostDigits = true }
                    if !seenPoint { fraction -= 1 }
                }
            } else {
                break
            }
            index += 1
        }
        guard digits > 0, let suffix = suffix(UnsafeBufferPointer(rebasing: bytes[index...])) else { return nil }
        var nanos = scaled(mantissa, twos: suffix.twos, tens: suffix.tens - fraction + 9, limit: limit(suffix.format))
        if lostDigits { nanos += 1 }
        return Quantity(nanos: isNegative ? -nanos : nanos, suffix.format)
    }

    private static func suffix(_ bytes: UnsafeBufferPointer<UInt8>) -> Suffix? {
        func power(_ byte: UInt8) -> Int? {
            switch byte {
            case UInt8(ascii: "M"): 2
            case UInt8(ascii: "G"): 3
            case UInt8(ascii: "T"): 4
            case UInt8(ascii: "P"): 5
            case UInt8(ascii: "E"): 6
            default: nil
            }
        }
        switch bytes.count {
        case 0: return Suffix(format: .decimal)
        case 1:
            switch bytes[0] {
            case UInt8(ascii: "n"): return Suffix(format: .decimal, tens: -9)
            case UInt8(ascii: "u"): return Suffix(format: .decimal, tens: -6)
            case UInt8(ascii: "m"): return Suffix(format: .decimal, tens: -3)
            case UInt8(ascii: "k"): return Suffix(format: .decimal, tens: 3)
            default: return power(bytes[0]).map { Suffix(format: .decimal, tens: 3 * $0) }
            }
        case 2 where bytes[1] == UInt8(ascii: "i"):
            if bytes[0] == UInt8(ascii: "K") { return Suffix(format: .binary, twos: 10) }
            return power(bytes[0]).map { Suffix(format: .binary, twos: 10 * $0) }
        default:
            guard bytes[0] | 0x20 == UInt8(ascii: "e") else { return nil }
            var index = 1
            var isNegative = false
            if bytes[1] == UInt8(ascii: "-") || bytes[1] == UInt8(ascii: "+") {
                isNegative = bytes[1] == UInt8(ascii: "-")
                index = 2
            }
            guard index < bytes.count, bytes.count - index <= 4 else { return nil }
            var exponent = 0
            for byte in bytes[index...] {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                exponent = exponent * 10 + Int(byte - UInt8(ascii: "0"))
            }
            return Suffix(format: .exponent, tens: isNegative ? -exponent : exponent)
        }
    }

    /// `mantissa` × 2^twos × 10^tens, rounded up, cut to the limit.
    private static func scaled(_ mantissa: Int128, twos: Int, tens: Int, limit: Int128) -> Int128 {
        guard mantissa > 0 else { return 0 }
        var value = mantissa
        var tens = tens
        var rest = false
        // Multiplying first keeps the product exact; what overflows is over the limit, unless it shrinks again.
        var twos = twos
        while twos > 0 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 2)
            if overflow {
                guard tens < 0 else { return limit }
                rest = rest || value % 10 != 0
                value /= 10
                tens += 1
                continue
            }
            value = product
            twos -= 1
        }
        while tens > 0 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            if overflow || product > limit { return limit }
            value = product
            tens -= 1
        }
        while tens < 0, value > 0 {
            rest = rest || value % 10 != 0
            value /= 10
            tens += 1
        }
        // Also what was rounded down to nothing is at least one billionth.
        if rest { value += 1 }
        return min(value, limit)
    }
}
