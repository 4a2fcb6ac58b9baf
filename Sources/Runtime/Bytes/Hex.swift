/// Hexadecimal text, lower case when written, either when read.
public enum Hex {
    /// The value of one digit.
    @inlinable
    public static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case 48...57: character &- 48
        case 65...70: character &- 55
        case 97...102: character &- 87
        default: nil
        }
    }

    /// The digit of a value below 16.
    @inlinable
    public static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 &+ value : 87 &+ (value & 15) }

    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var out: [UInt8] = []
        for byte in bytes {
            out.append(digit(byte >> 4))
            out.append(digit(byte & 15))
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// nil for an odd count or a character that is no digit.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var out: [UInt8] = []
        var pending: UInt8? = nil
        for character in text.utf8 {
            guard let digit = value(character) else { return nil }
            if let high = pending {
                out.append(high << 4 | digit)
                pending = nil
            } else {
                pending = digit
            }
        }
        return pending == nil ? out : nil
    }
}
