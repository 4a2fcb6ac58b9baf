extension [UInt8] {
    /// Appends the decimal digits of a number, without a `String`.
    @inlinable
    public mutating func appendDecimal(_ value: some BinaryInteger) {
        if value < 0 { append(UInt8(ascii: "-")) }
        appendDecimal(UInt64(value.magnitude), width: 1)
    }

    /// Appends at least `width` (1…20) digits, zeros in front.
    @inlinable
    public mutating func appendDecimal(_ value: UInt64, width: Int) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        Swift.withUnsafeMutableBytes(of: &digits) { room in
            let start = writeDecimal(value, width: Swift.min(Swift.max(width, 1), 20), endingAt: room, 24)
            append(contentsOf: UnsafeRawBufferPointer(rebasing: room[start...]))
        }
    }

    /// Appends text as UTF-8.
    @inlinable
    public mutating func append(utf8 text: String) { append(contentsOf: text.utf8) }
}

/// Writes the digits of `value` backwards so that they end before `end`; answers where they start.
/// The room before `end` must be at least 20 bytes and at least `width`.
@inlinable
public func writeDecimal(_ value: UInt64, width: Int = 1, endingAt room: UnsafeMutableRawBufferPointer, _ end: Int)
    -> Int
{
    var rest = value
    var at = end
    repeat {
        at &-= 1
        room[at] = UInt8(truncatingIfNeeded: 48 &+ rest % 10)
        rest /= 10
    } while rest != 0 || end &- at < width
    return at
}

extension FixedWidthInteger where Self: UnsignedInteger {
    /// From decimal digits only (no sign, no blanks, leading zeros allowed); nil when empty, foreign, or too large.
    @inlinable
    public init?(decimal bytes: some Sequence<UInt8>) {
        var value: Self = 0
        var any = false
        for byte in bytes {
            guard byte >= 48, byte <= 57 else { return nil }
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, over) = product.addingReportingOverflow(Self(truncatingIfNeeded: byte &- 48))
            guard !tooLarge, !over else { return nil }
            value = sum
            any = true
        }
        guard any else { return nil }
        self = value
    }
}

extension String {
    /// From bytes that must be UTF-8; nil otherwise.
    @inlinable
    public init?(validUTF8 bytes: UnsafeRawBufferPointer) {
        guard let text = bytes.withMemoryRebound(to: UInt8.self, { String(validating: $0, as: UTF8.self) }) else {
            return nil
        }
        self = text
    }

    /// From bytes of any kind, with U+FFFD for what is no UTF-8: messages and logs.
    @inlinable
    public init(lossyUTF8 bytes: UnsafeRawBufferPointer) { self = String(decoding: bytes, as: UTF8.self) }
}
