import Bytes

/// What a PROXY header says: who the client is, where it went, and what the sender adds in type-length-values. The format is
/// haproxy's `proxy-protocol.txt`.
public struct ProxyProtocolHeader: Hashable, Sendable {
    public enum Version: UInt8, Hashable, Sendable { case v1 = 1, v2 = 2 }

    public enum Command: Hashable, Sendable {
        /// The sender speaks for itself (a health check) or cannot say for whom: the socket's own addresses hold.
        case local
        /// The sender speaks for a client.
        case proxy
    }

    /// One type-length-value of version 2.
    public struct TypeLengthValue: Hashable, Sendable {
        public var type: UInt8
        public var value: [UInt8]

        public init(type: UInt8, value: [UInt8]) {
            self.type = type
            self.value = value
        }
    }

    public var version: Version
    public var command: Command
    /// Both nil for `local`.
    public var source: SocketAddress?
    public var destination: SocketAddress?
    /// All but those that are the format's own business: padding and checksum.
    public var values: [TypeLengthValue]

    /// Source and destination are of one family, or the header is `local`.
    public init(
        _ version: Version, source: SocketAddress?, destination: SocketAddress?, values: [TypeLengthValue] = []
    ) {
        self.version = version
        self.command = source == nil || destination == nil ? .local : .proxy
        self.source = command == .proxy ? source : nil
        self.destination = command == .proxy ? destination : nil
        self.values = values
    }

    /// `PP2_TYPE_CRC32C`.
    static let checksumType: UInt8 = 0x03
    /// `PP2_TYPE_NOOP`.
    static let paddingType: UInt8 = 0x04
    static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]
    static let prefixV1: [UInt8] = Array("PROXY".utf8)
}

/// CRC-32C (Castagnoli), as version 2's checksum and iSCSI use it.
struct CRC32C {
    private var state: UInt32 = .max
    var value: UInt32 { ~state }

    mutating func combine(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ state >> 8 }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }
}
