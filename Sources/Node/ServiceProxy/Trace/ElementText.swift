import Bytes
import Netlink

/// Register bytes as `nft` prints them.
struct ElementText {
    /// `10.96.0.1 . tcp . 80 : 480:1`.
    static func of(_ element: NFElement, in set: NFSet) -> String {
        var text = of(element.key, set.key)
        if let end = element.keyEnd { text = range(text, of(end, set.key)) }
        switch (element.data, set.mapped) {
        case (.value(let bytes), .data(let types)): text += " : " + of(bytes, types)
        case (.verdict(let verdict), _): text += " : \(of(verdict))"
        default: break
        }
        return text
    }

    static func of(_ bytes: [UInt8], _ types: [NFDataType]) -> String {
        guard types.count > 1 else { return types.first.map { field(bytes, $0) } ?? hexadecimal(bytes) }
        var start = 0
        return types.map { type in
            let end = min(start + type.size, bytes.count)
            defer { start += type.slots * 4 }
            return start < end ? field(Array(bytes[start..<end]), type) : "?"
        }.joined(separator: " . ")
    }

    static func of(_ verdict: NFVerdict) -> String {
        switch verdict {
        case .drop: "drop"
        case .accept: "accept"
        case .continue: "continue"
        case .return: "return"
        case .jump(let chain): "jump \(chain)"
        case .goto(let chain): "goto \(chain)"
        }
    }

    private static func field(_ bytes: [UInt8], _ type: NFDataType) -> String {
        guard bytes.count == type.size else { return hexadecimal(bytes) }
        switch type {
        case .ipv4Address, .ipv6Address:
            return bytes.withUnsafeBytes { IPAddress(bytes: $0).map { "\($0)" } } ?? hexadecimal(bytes)
        case .transport: return Transport(rawValue: bytes[0])?.description.lowercased() ?? "\(bytes[0])"
        case .port: return "\(UInt16(bytes[0]) << 8 | UInt16(bytes[1]))"
        case .mark: return mark(word(bytes))
        case .classID: return classID(word(bytes))
        default: return hexadecimal(bytes)
        }
    }

    static func mark(_ word: UInt32) -> String {
        let digits = String(word, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// A traffic class in two halves, which is how `meta priority` is printed.
    static func classID(_ word: UInt32) -> String {
        switch word {
        case 0: "none"
        case .max: "root"
        default: "\(String(word >> 16, radix: 16)):\(String(word & 0xFFFF, radix: 16))"
        }
    }

    /// Field by field, as a concatenation of ranges.
    private static func range(_ first: String, _ last: String) -> String {
        guard first != last else { return first }
        let pairs = zip(first.components(" . "), last.components(" . "))
        return pairs.map { $0 == $1 ? $0 : "\($0)-\($1)" }.joined(separator: " . ")
    }

    private static func word(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) } }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        "0x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension String {
    fileprivate func components(_ separator: String) -> [String] {
        var parts = [""]
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(separator) {
                parts.append("")
                rest = rest.dropFirst(separator.count)
            } else {
                parts[parts.count - 1].append(rest.removeFirst())
            }
        }
        return parts
    }
}
