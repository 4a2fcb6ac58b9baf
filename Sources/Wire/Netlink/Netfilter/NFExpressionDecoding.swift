extension NFExpression {
    /// From one `NFTA_LIST_ELEM`'s value. What is not understood, or malformed, becomes `other`; nil without a name.
    init?(_ element: NetlinkAttributes) {
        guard let name = element.first(NFTA.Expression.name)?.string else { return nil }
        let data = element.first(NFTA.Expression.data)?.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
        self = Self.decode(name, Fields(NetlinkAttributes(data))) ?? .other(name: name, Array(data))
    }

    private static func decode(_ name: String, _ f: Fields) -> NFExpression? {
        switch name {
        case "payload": payload(f)
        case "meta":
            f.u32(2).map(Meta.init(rawValue:)).flatMap { key in
                f.register(1).map { .meta(key, into: $0) } ?? f.register(3).map { .setMeta(key, from: $0) }
            }
        case "ct": ct(f)
        case "fib":
            f.u32(2).flatMap(FIBResult.init(rawValue:)).flatMap { result in
                f.register(1).map { .fib(result, FIBFlags(rawValue: f.u32(3) ?? 0), into: $0) }
            }
        case "immediate":
            f.u32(1) == 0
                ? f.nest(2)?.first(NFTA.Data.verdict).flatMap { NFVerdict($0.nested) }.map { .verdict($0) }
                : f.register(1).flatMap { into in f.data(2).map { .immediate($0, into: into) } }
        case "numgen":
            f.register(1).flatMap { into in
                f.u32(2).map {
                    .numgen(random: f.u32(3) == 1, modulus: $0, offset: f.u32(4) ?? 0, into: into)
                }
            }
        case "hash": hash(f)
        case "bitwise": bitwise(f)
        case "byteorder":
            f.register(1).flatMap { from in
                f.register(2).map { into in
                    .byteOrder(
                        from: from, into: into, toNetwork: f.u32(3) == 1, length: f.u32(4) ?? 0, size: f.u32(5) ?? 0)
                }
            }
        case "cmp":
            f.register(1).flatMap { register in
                f.u32(2).flatMap(Comparison.init(rawValue:)).flatMap { comparison in
                    f.data(3).map { .compare(register, comparison, $0) }
                }
            }
        case "range":
            f.register(1).flatMap { register in
                f.data(3).flatMap { from in f.data(4).map { .range(register, inside: f.u32(2) != 1, from, $0) } }
            }
        case "lookup": lookup(f)
        case "limit": .limit(NFLimit(f.attributes))
        case "quota":
            .quota(bytes: f.u64(1) ?? 0, over: (f.u32(2) ?? 0) & 1 != 0, consumed: f.u64(4) ?? 0)
        case "connlimit": .connectionLimit(count: f.u32(1) ?? 0, over: (f.u32(2) ?? 0) & 1 != 0)
        case "nat": nat(f)
        case "masq": .masquerade(f.natFlags(1), ports: f.register(2))
        case "redir": .redirect(ports: f.register(1), f.natFlags(3))
        case "tproxy":
            f.u32(1).flatMap(UInt8.init(exactly:)).flatMap(NFFamily.init(rawValue:)).map {
                .tproxy($0, address: f.register(2), port: f.register(3))
            }
        case "reject":
            switch f.u32(1) {
            case 0: f.u8(2).map { .reject(.icmp($0)) }
            case 1: .reject(.tcpReset)
            case 2: f.u8(2).map { .reject(.icmpAny($0)) }
            default: nil
            }
        case "counter": .counter(packets: f.u64(2) ?? 0, bytes: f.u64(1) ?? 0)
        case "objref":
            f.string(2).flatMap { name in f.u32(1).map { .object(NFObject.Kind(rawValue: $0), name) } }
                ?? f.string(4).flatMap { set in f.register(3).map { .objectMap(set, key: $0) } }
        case "dynset": dynamicSet(f)
        // The kernel fills in what was not said (snap length, level): only what we can write is read.
        case "log": .log(prefix: f.string(2), group: f.u16(1))
        case "notrack": .notrack
        default: nil
        }
    }

    private static func payload(_ f: Fields) -> NFExpression? {
        guard let into = f.register(1), let base = f.u32(2).flatMap(Payload.Base.init(rawValue:)),
            let offset = f.u32(3), let length = f.u32(4)
        else { return nil }
        return .payload(Payload(base, offset: offset, length: length), into: into)
    }

    private static func ct(_ f: Fields) -> NFExpression? {
        guard let key = f.u32(2).map(ConntrackKey.init(rawValue:)) else { return nil }
        let direction = f.u8(3).flatMap(Direction.init(rawValue:))
        if let into = f.register(1) { return .ct(key, direction: direction, into: into) }
        return f.register(4).map { .setConntrack(key, direction: direction, from: $0) }
    }

    private static func hash(_ f: Fields) -> NFExpression? {
        guard let into = f.register(2), let modulus = f.u32(4) else { return nil }
        let offset = f.u32(6) ?? 0
        if f.u32(7) == 1 { return .symhash(modulus: modulus, offset: offset, into: into) }
        guard let from = f.register(1), let length = f.u32(3) else { return nil }
        return .jhash(from: from, length: length, modulus: modulus, seed: f.u32(5), offset: offset, into: into)
    }

    private static func bitwise(_ f: Fields) -> NFExpression? {
        guard let from = f.register(1), let into = f.register(2), let length = f.u32(3) else { return nil }
        switch f.u32(6) ?? 0 {
        case 0:
            guard let mask = f.data(4), let xor = f.data(5) else { return nil }
            return .bitwise(from: from, into: into, mask: mask, xor: xor)
        case let direction where direction == 1 || direction == 2:
            guard let bytes = f.data(7), bytes.count == 4 else { return nil }
            let bits = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
            return .shift(from: from, into: into, length: length, left: direction == 1, bits: bits)
        case let number:
            guard let operation = Combination(rawValue: number), let second = f.register(8) else { return nil }
            return .combine(operation, from, second, into: into, length: length)
        }
    }

    private static func lookup(_ f: Fields) -> NFExpression? {
        guard let set = f.string(1), let key = f.register(2) else { return nil }
        let into: Destination? =
            switch f.u32(3) {
            case nil: Destination.none
            case 0: .verdict
            default: f.register(3).map { .register($0) }
            }
        return into.map { .lookup(set, key: key, into: $0, inverted: (f.u32(5) ?? 0) & 1 != 0) }
    }

    private static func nat(_ f: Fields) -> NFExpression? {
        guard let kind = f.u32(1).flatMap(NAT.Kind.init(rawValue:)),
            let family = f.u32(2).flatMap(UInt8.init(exactly:)).flatMap(NFFamily.init(rawValue:)),
            // The kernel repeats a lone register as the upper bound; a real range is not ours.
            f.u32(4) == nil || f.u32(4) == f.u32(3), f.u32(6) == nil || f.u32(6) == f.u32(5)
        else { return nil }
        return .nat(NAT(kind, family, address: f.register(3), port: f.register(5), flags: f.natFlags(7)))
    }

    private static func dynamicSet(_ f: Fields) -> NFExpression? {
        guard let set = f.string(1), let operation = f.u32(3).flatMap(DynamicSet.Operation.init(rawValue:)),
            let key = f.register(4), f.nest(7) == nil, f.nest(10) == nil
        else { return nil }
        let timeout = f.u64(6).flatMap { $0 == 0 ? nil : $0 }
        return .dynamicSet(DynamicSet(operation, set, key: key, data: f.register(5), timeout: timeout))
    }
}

/// Attributes by number, absent and malformed alike nil.
private struct Fields {
    let attributes: NetlinkAttributes

    init(_ attributes: NetlinkAttributes) { self.attributes = attributes }

    func u8(_ type: UInt16) -> UInt8? { attributes.first(type)?.u8 }
    func u16(_ type: UInt16) -> UInt16? { attributes.first(type)?.u16BigEndian }
    func u32(_ type: UInt16) -> UInt32? { attributes.first(type)?.u32BigEndian }
    func u64(_ type: UInt16) -> UInt64? { attributes.first(type)?.u64BigEndian }
    func string(_ type: UInt16) -> String? { attributes.first(type)?.string }
    func nest(_ type: UInt16) -> NetlinkAttributes? { attributes.first(type)?.nested }
    func register(_ type: UInt16) -> NFRegister? { NFRegister(wire: u32(type)) }

    /// Without what the kernel adds because the registers imply it (MAP_IPS 1, PROTO_SPECIFIED 2).
    func natFlags(_ type: UInt16) -> NFExpression.NATFlags {
        NFExpression.NATFlags(rawValue: u32(type) ?? 0).intersection([.random, .persistent, .fullyRandom])
    }

    func data(_ type: UInt16) -> [UInt8]? { nest(type)?.first(NFTA.Data.value)?.bytes }
}
