import Bytes

extension Duration {
    /// Ten thousand years: what a duration of the API may be at most, either way.
    static let protobufLimit: Int64 = 315_576_000_000

    /// From whole seconds and nanoseconds of the same sign; nil out of range.
    init?(seconds: Int64, nanoseconds: Int64) {
        guard seconds.magnitude <= Self.protobufLimit, nanoseconds.magnitude < 1_000_000_000,
            seconds == 0 || nanoseconds == 0 || (seconds < 0) == (nanoseconds < 0)
        else { return nil }
        self = .seconds(seconds) + .nanoseconds(nanoseconds)
    }

    /// What lies below nanoseconds is cut off.
    var protobufParts: (seconds: Int64, nanoseconds: Int64) {
        let (seconds, attoseconds) = components
        return (seconds, attoseconds / 1_000_000_000)
    }

    /// `1.5s`, `-3s`: at most nine digits behind the point, and `s` behind all.
    init?(protobufJSON text: String) {
        var rest = text.utf8[...]
        guard rest.popLast() == UInt8(ascii: "s") else { return nil }
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest.removeFirst() }
        let point = rest.firstIndex(of: UInt8(ascii: "."))
        guard let seconds = UInt64(decimal: rest[..<(point ?? rest.endIndex)]), seconds <= Self.protobufLimit else {
            return nil
        }
        var nanoseconds: Int64 = 0
        if let point {
            var digits = Array(rest[rest.index(after: point)...])
            guard (1...9).contains(digits.count) else { return nil }
            digits += Array(repeating: UInt8(ascii: "0"), count: 9 - digits.count)
            guard let fraction = UInt64(decimal: digits) else { return nil }
            nanoseconds = Int64(fraction)
        }
        self.init(
            seconds: isNegative ? -Int64(seconds) : Int64(seconds), nanoseconds: isNegative ? -nanoseconds : nanoseconds
        )
    }

    /// With no, three, six or nine digits behind the point, as the mapping asks for.
    var protobufJSON: String {
        let (seconds, nanoseconds) = protobufParts
        var text = seconds < 0 || nanoseconds < 0 ? "-" : ""
        text += "\(seconds.magnitude)"
        if nanoseconds != 0 {
            var digits = String(nanoseconds.magnitude + 1_000_000_000).dropFirst()
            while digits.hasSuffix("000") { digits.removeLast(3) }
            text += "." + digits
        }
        return text + "s"
    }
}
