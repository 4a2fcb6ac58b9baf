// An expression is a name and a nest of numbered attributes; all integers in network order.

extension NFExpression {
    /// The value of one `NFTA_LIST_ELEM`. `family` fills in what depends on the table.
    func encode(into writer: inout NetlinkWriter, family: NFFamily) {
        if case .other(let name, let data) = self {
            writer.attribute(NFTA.Expression.name, name)
            writer.attribute(NFTA.Expression.data | 0x8000, data)
            return
        }
        writer.attribute(NFTA.Expression.name, name)
        if case .notrack = self { return }
        writer.nest(NFTA.Expression.data) { encodeData(into: &$0) }
    }

    var name: String {
        switch self {
        case .payload: "payload"
        case .meta, .setMeta: "meta"
        case .ct, .setConntrack: "ct"
        case .fib: "fib"
        case .immediate, .verdict: "immediate"
        case .numgen: "numgen"
        case .jhash, .symhash: "hash"
        case .bitwise, .shift, .combine: "bitwise"
        case .byteOrder: "byteorder"
        case .compare: "cmp"
        case .range: "range"
        case .lookup: "lookup"
        case .limit: "limit"
        case .quota: "quota"
        case .connectionLimit: "connlimit"
        case .nat: "nat"
        case .masquerade: "masq"
        case .redirect: "redir"
        case .tproxy: "tproxy"
        case .reject: "reject"
        case .counter: "counter"
        case .object, .objectMap: "objref"
        case .dynamicSet: "dynset"
        case .log: "log"
        case .notrack: "notrack"
        case .other(let name, _): name
        }
    }

    private func encodeData(into w: inout NetlinkWriter) {
        switch self {
        case .payload(let field, let into):
            w.register(1, into)
            w.attribute(2, bigEndian: field.base.rawValue)
            w.attribute(3, bigEndian: field.offset)
            w.attribute(4, bigEndian: field.length)
        case .meta(let key, let into):
            w.register(1, into)
            w.attribute(2, bigEndian: key.rawValue)
        case .setMeta(let key, let from):
            w.attribute(2, bigEndian: key.rawValue)
            w.register(3, from)
        case .ct(let key, let direction, let into):
            w.register(1, into)
            w.attribute(2, bigEndian: key.rawValue)
            if let direction { w.attribute(3, direction.rawValue) }
        case .setConntrack(let key, let direction, let from):
            w.attribute(2, bigEndian: key.rawValue)
            if let direction { w.attribute(3, direction.rawValue) }
            w.register(4, from)
        case .fib(let result, let flags, let into):
            w.register(1, into)
            w.attribute(2, bigEndian: result.rawValue)
            w.attribute(3, bigEndian: flags.rawValue)
        case .immediate(let bytes, let into):
            w.register(1, into)
            w.data(2, bytes)
        case .verdict(let verdict):
            w.attribute(1, bigEndian: UInt32(0))
            w.nest(2) { verdict.encode(into: &$0) }
        case .numgen(let random, let modulus, let offset, let into):
            w.register(1, into)
            w.attribute(2, bigEndian: modulus)
            w.attribute(3, bigEndian: UInt32(random ? 1 : 0))
            if offset != 0 { w.attribute(4, bigEndian: offset) }
        case .jhash(let from, let length, let modulus, let seed, let offset, let into):
            w.register(1, from)
            w.register(2, into)
            w.attribute(3, bigEndian: length)
            w.attribute(4, bigEndian: modulus)
            if let seed { w.attribute(5, bigEndian: seed) }
            if offset != 0 { w.attribute(6, bigEndian: offset) }
            w.attribute(7, bigEndian: UInt32(0))
        case .symhash(let modulus, let offset, let into):
            w.register(2, into)
            w.attribute(4, bigEndian: modulus)
            if offset != 0 { w.attribute(6, bigEndian: offset) }
            w.attribute(7, bigEndian: UInt32(1))
        case .bitwise(let from, let into, let mask, let xor):
            w.register(1, from)
            w.register(2, into)
            w.attribute(3, bigEndian: UInt32(mask.count))
            w.data(4, mask)
            w.data(5, xor)
        case .shift(let from, let into, let length, let left, let bits):
            w.register(1, from)
            w.register(2, into)
            w.attribute(3, bigEndian: length)
            w.attribute(6, bigEndian: UInt32(left ? 1 : 2))
            w.data(7, bits.registerBytes)
        case .combine(let operation, let first, let second, let into, let length):
            w.register(1, first)
            w.register(2, into)
            w.attribute(3, bigEndian: length)
            w.attribute(6, bigEndian: operation.rawValue)
            w.register(8, second)
        case .byteOrder(let from, let into, let toNetwork, let length, let size):
            w.register(1, from)
            w.register(2, into)
            w.attribute(3, bigEndian: UInt32(toNetwork ? 1 : 0))
            w.attribute(4, bigEndian: length)
            w.attribute(5, bigEndian: size)
        case .compare(let register, let comparison, let bytes):
            w.register(1, register)
            w.attribute(2, bigEndian: comparison.rawValue)
            w.data(3, bytes)
        case .range(let register, let inside, let from, let to):
            w.register(1, register)
            w.attribute(2, bigEndian: UInt32(inside ? 0 : 1))
            w.data(3, from)
            w.data(4, to)
        case .lookup(let set, let key, let into, let inverted):
            w.attribute(1, set)
            w.register(2, key)
            switch into {
            case .none: break
            case .register(let register): w.register(3, register)
            case .verdict: w.attribute(3, bigEndian: UInt32(0))
            }
            if inverted { w.attribute(5, bigEndian: UInt32(1)) }
        case .limit(let limit): limit.encode(into: &w)
        case .quota(let bytes, let over, let consumed):
            NFObject.State.quota(bytes: bytes, over: over, consumed: consumed).encode(into: &w)
        case .connectionLimit(let count, let over):
            NFObject.State.connectionLimit(count: count, over: over).encode(into: &w)
        case .nat(let nat):
            w.attribute(1, bigEndian: nat.kind.rawValue)
            w.attribute(2, bigEndian: UInt32(nat.family.rawValue))
            if let address = nat.address { w.register(3, address) }
            if let port = nat.port { w.register(5, port) }
            if !nat.flags.isEmpty { w.attribute(7, bigEndian: nat.flags.rawValue) }
        case .masquerade(let flags, let ports):
            if !flags.isEmpty { w.attribute(1, bigEndian: flags.rawValue) }
            if let ports { w.register(2, ports) }
        case .redirect(let ports, let flags):
            if let ports { w.register(1, ports) }
            if !flags.isEmpty { w.attribute(3, bigEndian: flags.rawValue) }
        case .tproxy(let family, let address, let port):
            w.attribute(1, bigEndian: UInt32(family.rawValue))
            if let address { w.register(2, address) }
            if let port { w.register(3, port) }
        case .reject(let reject):
            switch reject {
            case .icmp(let code):
                w.attribute(1, bigEndian: UInt32(0))
                w.attribute(2, code)
            case .tcpReset: w.attribute(1, bigEndian: UInt32(1))
            case .icmpAny(let code):
                w.attribute(1, bigEndian: UInt32(2))
                w.attribute(2, code)
            }
        case .counter(let packets, let bytes):
            NFObject.State.counter(packets: packets, bytes: bytes).encode(into: &w)
        case .object(let kind, let name):
            w.attribute(1, bigEndian: kind.rawValue)
            w.attribute(2, name)
        case .objectMap(let set, let key):
            w.register(3, key)
            w.attribute(4, set)
        case .dynamicSet(let change):
            w.attribute(1, change.set)
            w.attribute(3, bigEndian: change.operation.rawValue)
            w.register(4, change.key)
            if let data = change.data { w.register(5, data) }
            if let timeout = change.timeout { w.attribute(6, bigEndian: timeout) }
        case .log(let prefix, let group):
            if let group { w.attribute(1, bigEndian: group) }
            if let prefix { w.attribute(2, prefix) }
        case .notrack, .other: break
        }
    }
}

extension NetlinkWriter {
    fileprivate mutating func register(_ type: UInt16, _ register: NFRegister) {
        attribute(type, bigEndian: register.wire)
    }

    fileprivate mutating func data(_ type: UInt16, _ bytes: [UInt8]) {
        nest(type) { $0.attribute(NFTA.Data.value, bytes) }
    }
}
