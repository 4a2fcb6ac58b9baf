import Bytes
import Netlink

/// A rule as `nft list` prints it, for the expressions that our rules use; others stand in it by their own names.
///
/// nft works in words and the kernel in registers: this remembers of each register the words that loaded it.
struct RuleText {
    static func of(_ rule: NFRule, in table: TableSnapshot) -> String {
        var text = RuleText(table)
        for expression in rule.expressions { text.append(expression) }
        return text.parts.joined(separator: " ")
    }

    /// What a register holds: its words, and how values beside it are printed.
    private struct Loaded {
        var text: String
        var type: NFDataType
        /// Ended by a mask that says how many bits of a prefix count.
        var prefixLength: UInt8?
    }

    private let table: TableSnapshot
    private var registers: [UInt8: Loaded] = [:]
    private var parts: [String] = []

    private init(_ table: TableSnapshot) { self.table = table }

    private var address: NFDataType { table.name.family == .ip ? .ipv4Address : .ipv6Address }
    private var addressWord: String { table.name.family == .ip ? "ip" : "ip6" }

    private mutating func append(_ expression: NFExpression) {
        switch expression {
        case .payload(let field, let register): set(register, payload(field))
        case .meta(let key, let register): set(register, meta(key))
        case .ct(let key, nil, let register): set(register, conntrack(key))
        case .fib(.addressType, let flags, let register):
            let end = flags.contains(.source) ? "saddr" : "daddr"
            set(register, Loaded(text: "fib \(end) type", type: Self.addressType))
        case .immediate(let bytes, let register):
            set(register, Loaded(text: "", type: NFDataType(number: 0, size: bytes.count)))
            values[register.slot] = bytes
        case .numgen(let isRandom, let modulus, let offset, let register):
            let mode = isRandom ? "random" : "inc"
            let text = "numgen \(mode) mod \(modulus)" + (offset == 0 ? "" : " offset \(offset)")
            set(register, Loaded(text: text, type: .mark))
        case .jhash(let from, let length, let modulus, let seed, let offset, let register):
            let mode = "jhash \(hashed(from, Int(length))) mod \(modulus)"
            let text = mode + (seed.map { " seed 0x\(String($0, radix: 16))" } ?? "")
            set(register, Loaded(text: text + (offset == 0 ? "" : " offset \(offset)"), type: .mark))
        case .dynamicSet(let change): parts.append(dynamicSet(change))
        case .bitwise(let from, let into, let mask, let xor): bitwise(from, into, mask, xor)
        case .compare(let register, let comparison, let bytes): compare(register, comparison, bytes)
        case .lookup(let set, let key, let destination, let isInverted): lookup(set, key, destination, isInverted)
        case .setMeta(let key, let register):
            let target = meta(key)
            parts.append("\(target.text) set \(words(register, target.type))")
        case .verdict(let verdict): parts.append(ElementText.of(verdict))
        case .nat(let nat):
            let kind = nat.kind == .destination ? "dnat" : "snat"
            parts.append("\(kind) \(addressWord) to \(nat.address.map { words($0, address) } ?? "?")")
        case .masquerade(let flags, _):
            parts.append("masquerade" + (flags.contains(.fullyRandom) ? " fully-random" : ""))
        case .reject: parts.append("reject")
        case .counter(let packets, let bytes): parts.append("counter packets \(packets) bytes \(bytes)")
        default: parts.append("\(expression)")
        }
    }

    // MARK: Registers

    private var values: [UInt8: [UInt8]] = [:]

    private mutating func set(_ register: NFRegister, _ loaded: Loaded) {
        registers[register.slot] = loaded
        values[register.slot] = nil
    }

    private func words(_ register: NFRegister, _ type: NFDataType) -> String {
        if let bytes = values[register.slot] { return value(bytes, type) }
        return registers[register.slot]?.text ?? "?"
    }

    /// The words of a key that begins in a register.
    private func key(_ register: NFRegister, _ types: [NFDataType]) -> String {
        var slot = Int(register.slot)
        return types.map { type in
            defer { slot += type.slots }
            return slot < 16 ? words(NFRegister(UInt8(slot)), type) : "?"
        }.joined(separator: " . ")
    }

    /// The words of so many bytes that begin in a register, whatever they are.
    private func hashed(_ register: NFRegister, _ length: Int) -> String {
        var words: [String] = []
        var slot = Int(register.slot)
        let end = slot + length / 4
        while slot < end, let loaded = registers[UInt8(slot)] {
            words.append(loaded.text)
            slot += loaded.type.slots
        }
        return words.joined(separator: " . ")
    }

    private func dynamicSet(_ change: NFExpression.DynamicSet) -> String {
        guard let set = table.sets[change.set] else { return "\(change.operation) @\(change.set)" }
        var text = "\(change.operation) @\(change.set) { \(key(change.key, set.key))"
        if let timeout = change.timeout { text += " timeout \(Self.time(timeout))" }
        if let data = change.data, case .data(let types) = set.mapped { text += " : \(key(data, types))" }
        return text + " }"
    }

    /// `1d2h3m4s5ms`, without what is 0.
    private static func time(_ milliseconds: UInt64) -> String {
        let seconds = milliseconds / 1000
        let parts = [
            (seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"),
            (milliseconds % 1000, "ms"),
        ]
        return parts.filter { $0.0 > 0 }.map { "\($0.0)\($0.1)" }.joined()
    }

    private func payload(_ field: NFExpression.Payload) -> Loaded {
        switch field {
        case .ipv4Source, .ipv6Source: Loaded(text: "\(addressWord) saddr", type: address)
        case .ipv4Destination, .ipv6Destination: Loaded(text: "\(addressWord) daddr", type: address)
        case .sourcePort: Loaded(text: "th sport", type: .port)
        case .destinationPort: Loaded(text: "th dport", type: .port)
        default: Loaded(text: "\(field)", type: NFDataType(number: 0, size: Int(field.length)))
        }
    }

    private func meta(_ key: NFExpression.Meta) -> Loaded {
        switch key {
        case .transport: Loaded(text: "meta l4proto", type: .transport)
        case .priority: Loaded(text: "meta priority", type: .classID)
        case .mark: Loaded(text: "meta mark", type: .mark)
        case .inputName: Loaded(text: "iifname", type: .interfaceName)
        default: Loaded(text: "meta \(key.rawValue)", type: NFDataType(number: 0, size: 4))
        }
    }

    private func conntrack(_ key: NFExpression.ConntrackKey) -> Loaded {
        switch key {
        case .status: Loaded(text: "ct status", type: Self.conntrackStatus)
        case .state: Loaded(text: "ct state", type: Self.conntrackState)
        default: Loaded(text: "ct \(key.rawValue)", type: NFDataType(number: 0, size: 4))
        }
    }

    // MARK: Values

    /// nft's numbers of types that sets of ours do not have.
    private static let addressType = NFDataType(number: 21, size: 4, isHostOrder: true)
    private static let conntrackState = NFDataType(number: 26, size: 4, isHostOrder: true)
    private static let conntrackStatus = NFDataType(number: 28, size: 4, isHostOrder: true)

    private func value(_ bytes: [UInt8], _ type: NFDataType) -> String {
        switch type {
        case Self.addressType:
            let word = bytes.withUnsafeBytes { $0.count == 4 ? $0.loadUnaligned(as: UInt32.self) : 0 }
            return NFExpression.AddressType(rawValue: word).map { "\($0)" } ?? "\(word)"
        case .interfaceName:
            // A name is compared with its end; without one it is a beginning.
            let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            return bytes.contains(0) ? "\"\(text)\"" : "\"\(text)*\""
        default: return ElementText.of(bytes, [type])
        }
    }

    private mutating func bitwise(_ from: NFRegister, _ into: NFRegister, _ mask: [UInt8], _ xor: [UInt8]) {
        guard var loaded = registers[from.slot] else { return }
        let isPlain = xor.allSatisfy { $0 == 0 }
        let inverse = mask.map { ~$0 }
        if isPlain, [.ipv4Address, .ipv6Address].contains(loaded.type), let length = Self.prefixLength(mask) {
            loaded.prefixLength = length
        } else if isPlain, [Self.conntrackState, Self.conntrackStatus].contains(loaded.type) {
            loaded.text += Self.conntrackWord(mask, loaded.type)
        } else if isPlain {
            loaded.text += " & \(value(mask, loaded.type))"
        } else if inverse == xor {
            loaded.text += " | \(value(xor, loaded.type))"
        } else if mask.allSatisfy({ $0 == 0xFF }) {
            loaded.text += " ^ \(value(xor, loaded.type))"
        } else {
            loaded.text += " & \(value(mask, loaded.type)) ^ \(value(xor, loaded.type))"
        }
        set(into, loaded)
    }

    private mutating func compare(_ register: NFRegister, _ comparison: NFExpression.Comparison, _ bytes: [UInt8]) {
        guard let loaded = registers[register.slot] else { return }
        // Bits of connection tracking are named by the mask, and their test needs no number.
        if [Self.conntrackState, Self.conntrackStatus].contains(loaded.type), comparison == .notEqual {
            return parts.append(loaded.text)
        }
        let sign = comparison.sign.map { " \($0)" } ?? ""
        let suffix = loaded.prefixLength.map { "/\($0)" } ?? ""
        parts.append("\(loaded.text)\(sign) \(value(bytes, loaded.type))\(suffix)")
    }

    private mutating func lookup(
        _ name: String, _ register: NFRegister, _ destination: NFExpression.Destination, _ isInverted: Bool
    ) {
        guard let set = table.sets[name] else { return parts.append("@\(name)") }
        let key = key(register, set.key)
        switch destination {
        case .none: parts.append("\(key)\(isInverted ? " !=" : "") @\(name)")
        case .verdict: parts.append("\(key) vmap @\(name)")
        case .register(let into):
            guard case .data(let types) = set.mapped, let first = types.first else { return }
            self.set(into, Loaded(text: "\(key) map @\(name)", type: first))
        }
    }

    private static func conntrackWord(_ mask: [UInt8], _ type: NFDataType) -> String {
        let word = mask.withUnsafeBytes { $0.count == 4 ? $0.loadUnaligned(as: UInt32.self) : 0 }
        switch (type, word) {
        case (conntrackStatus, NFExpression.conntrackIsDestinationNAT): return " dnat"
        case (conntrackState, NFExpression.ConntrackState.new.rawValue): return " new"
        default: return " \(ElementText.mark(word))"
        }
    }

    /// nil for a mask with holes.
    private static func prefixLength(_ mask: [UInt8]) -> UInt8? {
        let ones = mask.reduce(0) { $0 + $1.nonzeroBitCount }
        let leading = mask.prefix { $0 == 0xFF }.count
        let rest = leading < mask.count ? (~mask[leading]).leadingZeroBitCount : 0
        return leading * 8 + rest == ones ? UInt8(ones) : nil
    }
}

extension NFExpression.Comparison {
    /// nil for equality, which nft does not write.
    fileprivate var sign: String? {
        switch self {
        case .equal: nil
        case .notEqual: "!="
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
    }
}
