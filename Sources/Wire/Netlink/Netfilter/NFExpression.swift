/// One step of a rule: loads a register, compares it, or acts on the packet.
///
/// Register contents are bytes: packet fields in network order, everything else in this machine's.
public enum NFExpression: Hashable, Sendable {
    // Loading
    case payload(Payload, into: NFRegister)
    case meta(Meta, into: NFRegister)
    case ct(ConntrackKey, direction: Direction? = nil, into: NFRegister)
    case fib(FIBResult, FIBFlags, into: NFRegister)
    case immediate([UInt8], into: NFRegister)
    /// 0 ..< modulus, plus offset, in host order.
    case numgen(random: Bool, modulus: UInt32, offset: UInt32 = 0, into: NFRegister)
    /// Jenkins' hash of `length` bytes; without a seed the kernel draws one for each rule.
    case jhash(from: NFRegister, length: UInt32, modulus: UInt32, seed: UInt32?, offset: UInt32 = 0, into: NFRegister)
    /// A hash that is equal for both directions of a flow.
    case symhash(modulus: UInt32, offset: UInt32 = 0, into: NFRegister)
    /// (source & mask) ^ xor.
    case bitwise(from: NFRegister, into: NFRegister, mask: [UInt8], xor: [UInt8])
    case shift(from: NFRegister, into: NFRegister, length: UInt32, left: Bool, bits: UInt32)
    /// Of two registers (Linux 6.13). nft 1.0 cannot print it and aborts: not in tables that people list.
    case combine(Combination, NFRegister, NFRegister, into: NFRegister, length: UInt32)
    case byteOrder(from: NFRegister, into: NFRegister, toNetwork: Bool, length: UInt32, size: UInt32)

    // Comparing: a rule ends where one does not hold
    case compare(NFRegister, Comparison, [UInt8])
    case range(NFRegister, inside: Bool, [UInt8], [UInt8])
    /// Whether a set has the key; a map's data goes into `into`, a verdict map's verdict is followed.
    case lookup(String, key: NFRegister, into: Destination = .none, inverted: Bool = false)
    case limit(NFLimit)
    case quota(bytes: UInt64, over: Bool, consumed: UInt64 = 0)
    case connectionLimit(count: UInt32, over: Bool)

    // Acting
    case setMeta(Meta, from: NFRegister)
    case setConntrack(ConntrackKey, direction: Direction? = nil, from: NFRegister)
    case verdict(NFVerdict)
    case nat(NAT)
    case masquerade(NATFlags = [], ports: NFRegister? = nil)
    case redirect(ports: NFRegister? = nil, NATFlags = [])
    case tproxy(NFFamily, address: NFRegister?, port: NFRegister?)
    case reject(Reject)
    case counter(packets: UInt64 = 0, bytes: UInt64 = 0)
    case object(NFObject.Kind, String)
    /// The object that a map has for the key.
    case objectMap(String, key: NFRegister)
    case dynamicSet(DynamicSet)
    case log(prefix: String? = nil, group: UInt16? = nil)
    case notrack
    /// One that this version does not know, as the kernel wrote it.
    case other(name: String, [UInt8])
}

extension NFExpression {
    public struct Payload: Hashable, Sendable {
        public enum Base: UInt32, Sendable { case link = 0, network = 1, transport = 2, inner = 3 }
        public var base: Base
        public var offset: UInt32
        public var length: UInt32

        public init(_ base: Base, offset: UInt32, length: UInt32) {
            self.base = base
            self.offset = offset
            self.length = length
        }

        public static let ipv4Source = Self(.network, offset: 12, length: 4)
        public static let ipv4Destination = Self(.network, offset: 16, length: 4)
        public static let ipv6Source = Self(.network, offset: 8, length: 16)
        public static let ipv6Destination = Self(.network, offset: 24, length: 16)
        /// Only behind a check of `Meta.transport`.
        public static let sourcePort = Self(.transport, offset: 0, length: 2)
        /// Only behind a check of `Meta.transport`.
        public static let destinationPort = Self(.transport, offset: 2, length: 2)
    }

    /// `nft_meta_keys`.
    public struct Meta: RawRepresentable, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let length = Self(rawValue: 0)
        /// `skb->priority`
        public static let priority = Self(rawValue: 2)
        public static let ethernetProtocol = Self(rawValue: 1)
        public static let mark = Self(rawValue: 3)
        public static let inputIndex = Self(rawValue: 4)
        public static let outputIndex = Self(rawValue: 5)
        public static let inputName = Self(rawValue: 6)
        public static let outputName = Self(rawValue: 7)
        public static let socketUser = Self(rawValue: 10)
        public static let socketGroup = Self(rawValue: 11)
        public static let family = Self(rawValue: 15)
        public static let transport = Self(rawValue: 16)
    }

    /// `nft_ct_keys`.
    public struct ConntrackKey: RawRepresentable, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let state = Self(rawValue: 0)
        public static let direction = Self(rawValue: 1)
        public static let status = Self(rawValue: 2)
        public static let mark = Self(rawValue: 3)
        public static let labels = Self(rawValue: 13)
        public static let zone = Self(rawValue: 17)
    }

    public enum Direction: UInt8, Sendable { case original = 0, reply = 1 }

    /// Bits of `ConntrackKey.state`.
    public struct ConntrackState: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let invalid = Self(rawValue: 1)
        public static let established = Self(rawValue: 2)
        public static let related = Self(rawValue: 4)
        public static let new = Self(rawValue: 8)
        public static let untracked = Self(rawValue: 64)
    }

    /// Bits of `ConntrackKey.status`.
    public static let conntrackIsDestinationNAT: UInt32 = 0x20

    public enum FIBResult: UInt32, Sendable { case outputIndex = 1, outputName = 2, addressType = 3 }

    public struct FIBFlags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let source = Self(rawValue: 1)
        public static let destination = Self(rawValue: 2)
        public static let mark = Self(rawValue: 4)
        public static let inputInterface = Self(rawValue: 8)
        public static let outputInterface = Self(rawValue: 16)
        public static let present = Self(rawValue: 32)
    }

    /// `RTN_*`, as `FIBResult.addressType` gives them.
    public enum AddressType: UInt32, Sendable {
        case unicast = 1, local = 2, broadcast = 3, anycast = 4, multicast = 5, blackhole = 6, unreachable = 7
    }

    /// `nft_bitwise_ops` on two registers.
    public enum Combination: UInt32, Sendable { case and = 3, or = 4, xor = 5 }

    public enum Comparison: UInt32, Sendable {
        case equal = 0, notEqual = 1, less = 2, lessOrEqual = 3, greater = 4, greaterOrEqual = 5
    }

    public enum Destination: Hashable, Sendable {
        case none
        case register(NFRegister)
        case verdict
    }

    public struct NATFlags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let random = Self(rawValue: 0x4)
        public static let persistent = Self(rawValue: 0x8)
        public static let fullyRandom = Self(rawValue: 0x10)
    }

    /// Address and port come from registers, the port in network order.
    public struct NAT: Hashable, Sendable {
        public enum Kind: UInt32, Sendable { case source = 0, destination = 1 }
        public var kind: Kind
        public var family: NFFamily
        public var address: NFRegister?
        public var port: NFRegister?
        public var flags: NATFlags

        public init(
            _ kind: Kind, _ family: NFFamily, address: NFRegister?, port: NFRegister? = nil, flags: NATFlags = []
        ) {
            self.kind = kind
            self.family = family
            self.address = address
            self.port = port
            self.flags = flags
        }
    }

    public enum Reject: Hashable, Sendable {
        /// By the number of the family's own ICMP: port unreachable is 3 for ip, 4 for ip6.
        case icmp(UInt8)
        case tcpReset
        /// For `inet` and `bridge`: port unreachable is 1.
        case icmpAny(UInt8)
    }

    /// What a rule does to a set with the `dynamic` flag.
    public struct DynamicSet: Hashable, Sendable {
        public enum Operation: UInt32, Sendable { case add = 0, update = 1, delete = 2 }
        public var operation: Operation
        public var set: String
        public var key: NFRegister
        public var data: NFRegister?
        /// Milliseconds; nil: the set's.
        public var timeout: UInt64?

        public init(
            _ operation: Operation, _ set: String, key: NFRegister, data: NFRegister? = nil, timeout: UInt64? = nil
        ) {
            self.operation = operation
            self.set = set
            self.key = key
            self.data = data
            self.timeout = timeout
        }
    }

    /// Without what the kernel counts up in it.
    public var withoutState: NFExpression {
        switch self {
        case .counter: .counter()
        case .quota(let bytes, let over, _): .quota(bytes: bytes, over: over)
        default: self
        }
    }
}

extension FixedWidthInteger {
    /// The bytes in this machine's order, as registers hold marks and states.
    public var registerBytes: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }
    /// The bytes in network order, as registers hold packet fields.
    public var networkBytes: [UInt8] { withUnsafeBytes(of: bigEndian) { Array($0) } }
}
