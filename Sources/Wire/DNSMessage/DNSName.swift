import Bytes

/// A domain name in its wire form: length-prefixed labels up to the root's zero (RFC 1035 §3.1).
///
/// Letters of A–Z are kept as lower case: names are compared without regard to case, and equal names have equal bytes.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Octets of a whole name.
    public static let lengthLimit = 255
    /// Octets of one label.
    public static let labelLimit = 63

    public let wire: [UInt8]

    public static let root = DNSName(wire: [0])

    private init(wire: [UInt8]) { self.wire = wire }

    /// From text like `cart.shop.svc.cluster.local`, with or without the last dot; `\.` and `\DDD` are escapes.
    ///
    /// - Returns: nil when a label is empty or too long, or the whole is.
    public init?(_ text: String) {
        var wire: [UInt8] = []
        var label: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        if bytes.isEmpty || bytes.elementsEqual(".".utf8) {
            self = .root
            return
        }
        func finish() -> Bool {
            guard !label.isEmpty, label.count <= Self.labelLimit else { return false }
            wire.append(UInt8(label.count))
            wire += label
            label.removeAll(keepingCapacity: true)
            return true
        }
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "."):
                guard finish() else { return nil }
            case UInt8(ascii: "\\"):
                guard let next = bytes.popFirst() else { return nil }
                if next >= UInt8(ascii: "0"), next <= UInt8(ascii: "9") {
                    guard bytes.count >= 2, let code = UInt8(String(decoding: [next] + bytes.prefix(2), as: UTF8.self))
                    else { return nil }
                    bytes = bytes.dropFirst(2)
                    label.append(lowercased(code))
                } else {
                    label.append(lowercased(next))
                }
            default: label.append(lowercased(byte))
            }
        }
        if !label.isEmpty { guard finish() else { return nil } }
        wire.append(0)
        guard wire.count <= Self.lengthLimit else { return nil }
        self.wire = wire
    }

    /// From the wire form without compression, as a question has it.
    public init?(wire bytes: some BidirectionalCollection<UInt8>) {
        var index = bytes.startIndex
        var total = 0
        while index < bytes.endIndex {
            let length = Int(bytes[index])
            guard length <= Self.labelLimit,
                let next = bytes.index(index, offsetBy: length + 1, limitedBy: bytes.endIndex)
            else { return nil }
            total += length + 1
            index = next
            if length == 0 { break }
        }
        guard index == bytes.endIndex, total <= Self.lengthLimit, bytes.last == 0 else { return nil }
        self.wire = bytes.map(lowercased)
    }

    /// `labels` in front of this name; nil when it becomes too long.
    public func prefixed(by labels: String...) -> DNSName? {
        var front: [UInt8] = []
        for label in labels {
            guard !label.isEmpty, label.utf8.count <= Self.labelLimit else { return nil }
            front.append(UInt8(label.utf8.count))
            front += label.utf8.map(lowercased)
        }
        guard front.count + wire.count <= Self.lengthLimit else { return nil }
        return DNSName(wire: front + wire)
    }

    /// The name without its first label; nil for the root.
    public var parent: DNSName? {
        guard wire[0] > 0 else { return nil }
        return DNSName(wire: Array(wire[(Int(wire[0]) + 1)...]))
    }

    /// Labels without the root's.
    public var labels: [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var at = 0
        while wire[at] > 0 {
            result.append(wire[(at + 1)...(at + Int(wire[at]))])
            at += Int(wire[at]) + 1
        }
        return result
    }

    /// Whether this name is `zone` or below it.
    public func isIn(_ zone: DNSName) -> Bool {
        guard wire.count >= zone.wire.count else { return false }
        var at = 0
        while wire.count - at > zone.wire.count { at += Int(wire[at]) + 1 }
        return wire.count - at == zone.wire.count && wire[at...].elementsEqual(zone.wire)
    }

    /// The name under `in-addr.arpa` or `ip6.arpa` that stands for an address.
    public init(reverse address: IPAddress) {
        var text = ""
        if address.family == .v4 {
            for byte in address.bytes.reversed() { text += "\(byte)." }
            text += "in-addr.arpa"
        } else {
            for byte in address.bytes.reversed() {
                text += "\(String(byte & 15, radix: 16)).\(String(byte >> 4, radix: 16))."
            }
            text += "ip6.arpa"
        }
        // Built from digits: it is always a name.
        self = DNSName(text) ?? .root
    }

    /// With the last dot.
    public var description: String {
        guard wire.count > 1 else { return "." }
        var text = ""
        for label in labels {
            for byte in label {
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "\\"): text += "\\\(Character(UnicodeScalar(byte)))"
                case 0x21...0x7E: text += String(Character(UnicodeScalar(byte)))
                default: text += "\\" + String(repeating: "0", count: byte < 10 ? 2 : byte < 100 ? 1 : 0) + String(byte)
                }
            }
            text += "."
        }
        return text
    }
}

/// A–Z as a–z, all else as it is.
@inlinable
public func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
}
