// Trace: who a request is in a distributed trace, whether it is sampled, and what is told of it to a collector. Sees streams,
// which know nothing of spans but where they begin and end.

/// A span's place in its trace, as W3C Trace Context writes it in `traceparent`.
struct TraceContext: Hashable, Sendable {
    /// The trace's 128 bits; not zero.
    var high: UInt64
    var low: UInt64
    /// The span's 64 bits; not zero.
    var span: UInt64
    var isSampled: Bool

    /// Of a `traceparent`: `00-<32 digits>-<16 digits>-<2 digits>`.
    static let length = 55

    init(high: UInt64, low: UInt64, span: UInt64, isSampled: Bool) {
        (self.high, self.low, self.span, self.isSampled) = (high, low, span, isSampled)
    }

    /// A trace that begins here.
    init(_ random: inout some RandomNumberGenerator) {
        self.init(
            high: random.next(), low: Self.identity(&random), span: Self.identity(&random), isSampled: true)
    }

    /// nil for what is no `traceparent` of a version that is known; as Envoy, one with more to say is none.
    init?(_ text: UnsafeRawBufferPointer) {
        let dash = UInt8(ascii: "-")
        guard text.count == Self.length, text[2] == dash, text[35] == dash, text[52] == dash,
            Self.number(text, 0..<2) != nil, let high = Self.number(text, 3..<19),
            let low = Self.number(text, 19..<35), let span = Self.number(text, 36..<52),
            let flags = Self.number(text, 53..<55), high | low != 0, span != 0
        else { return nil }
        self.init(high: high, low: low, span: span, isSampled: flags & 1 != 0)
    }

    /// Shows the `traceparent`.
    func withText<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeTemporaryAllocation(byteCount: Self.length, alignment: 1) { text in
            text.copyMemory(from: StaticString("00-00000000000000000000000000000000-0000000000000000-00").bytes)
            Self.write(high, into: text, at: 3)
            Self.write(low, into: text, at: 19)
            Self.write(span, into: text, at: 36)
            if isSampled { text[54] = UInt8(ascii: "1") }
            return body(UnsafeRawBufferPointer(text))
        }
    }

    /// The trace's digits.
    func withTraceText<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withText { body(UnsafeRawBufferPointer(rebasing: $0[3..<35])) }
    }

    /// Another span of the same trace.
    func child(_ random: inout some RandomNumberGenerator) -> TraceContext {
        var child = self
        child.span = Self.identity(&random)
        return child
    }

    private static func identity(_ random: inout some RandomNumberGenerator) -> UInt64 { max(random.next(), 1) }

    static func number(_ text: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for index in range {
            let byte = text[index]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - 48
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - 87
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - 55
            default: return nil
            }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    private static func write(_ value: UInt64, into text: UnsafeMutableRawBufferPointer, at start: Int) {
        for index in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index) & 15)
            text[start + index] = digit < 10 ? digit + 48 : digit + 87
        }
    }
}
