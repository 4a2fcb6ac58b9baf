/// RFC 4648 base64: the standard alphabet with padding, and the URL-safe one without (JSON web tokens).
public enum Base64 {
    public static func encode(_ bytes: some Collection<UInt8>) -> String {
        text(bytes, alphabet: standard, padded: true)
    }

    public static func encodeURLSafe(_ bytes: some Collection<UInt8>) -> String {
        text(bytes, alphabet: urlSafe, padded: false)
    }

    /// Strict: right padding, no blanks, unused bits zero; nil otherwise. Line breaks are for PEM, see `decodeLenient`.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var body = Array(text.utf8)
        guard body.count % 4 == 0 else { return nil }
        if body.last == pad { body.removeLast() }
        if body.last == pad { body.removeLast() }
        guard body.count % 4 != 1 else { return nil }
        return values(body, sixtyTwo: UInt8(ascii: "+"), sixtyThree: UInt8(ascii: "/"))
    }

    /// Without padding; unused bits zero.
    public static func decodeURLSafe(_ text: some StringProtocol) -> [UInt8]? {
        let body = Array(text.utf8)
        guard body.count % 4 != 1 else { return nil }
        return values(body, sixtyTwo: UInt8(ascii: "-"), sixtyThree: UInt8(ascii: "_"))
    }

    /// As `decode`, ignoring blanks and line breaks: PEM bodies and YAML block text.
    public static func decodeLenient(_ text: some StringProtocol) -> [UInt8]? {
        decode(String(decoding: text.utf8.filter { ![9, 10, 13, 32].contains($0) }, as: UTF8.self))
    }

    private static let pad = UInt8(ascii: "=")
    private static let standard = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let urlSafe = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    private static func text(_ bytes: some Collection<UInt8>, alphabet: [UInt8], padded: Bool) -> String {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        var group: UInt32 = 0
        var held = 0
        for byte in bytes {
            group = group << 8 | UInt32(byte)
            held += 1
            guard held == 3 else { continue }
            for shift in [18, 12, 6, 0] as [UInt32] { out.append(alphabet[Int(group >> shift & 63)]) }
            (group, held) = (0, 0)
        }
        if held > 0 {
            group <<= UInt32(8 * (3 - held))
            for index in 0...held { out.append(alphabet[Int(group >> UInt32(18 - 6 * index) & 63)]) }
            if padded { out.append(contentsOf: repeatElement(pad, count: 3 - held)) }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func values(_ body: [UInt8], sixtyTwo: UInt8, sixtyThree: UInt8) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(body.count / 4 * 3 + 2)
        var group: UInt32 = 0
        var bits: UInt32 = 0
        for character in body {
            let value: UInt8
            switch character {
            case 65...90: value = character - 65
            case 97...122: value = character - 71
            case 48...57: value = character + 4
            case sixtyTwo: value = 62
            case sixtyThree: value = 63
            default: return nil
            }
            group = group << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(truncatingIfNeeded: group >> bits))
                group &= 1 << bits - 1
            }
        }
        return group == 0 ? out : nil
    }
}
