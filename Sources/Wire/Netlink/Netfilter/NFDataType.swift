/// One field of a set's key or data: its size, and what `nft` should print it as.
///
/// To the kernel a key is bytes; the type number is only kept for `nft`. In a concatenation each field starts at a
/// four-byte boundary, padded with zeros behind.
public struct NFDataType: Hashable, Sendable {
    /// nft's number, six bits.
    public var number: UInt32
    /// Bytes.
    public var size: Int
    /// Whether registers hold it in this machine's order (marks, numgen) rather than the network's.
    public var isHostOrder: Bool

    public init(number: UInt32, size: Int, isHostOrder: Bool = false) {
        self.number = number
        self.size = size
        self.isHostOrder = isHostOrder
    }

    /// Four-byte slots that it takes in a concatenation.
    public var slots: Int { (size + 3) / 4 }

    public static let ipv4Address = Self(number: 7, size: 4)
    public static let ipv6Address = Self(number: 8, size: 16)
    public static let ethernetAddress = Self(number: 9, size: 6)
    public static let transport = Self(number: 12, size: 1)
    public static let port = Self(number: 13, size: 2)
    public static let mark = Self(number: 19, size: 4, isHostOrder: true)
    /// `meta priority`, which nft prints in two halves.
    public static let classID = Self(number: 23, size: 4, isHostOrder: true)
    public static let interfaceName = Self(number: 41, size: 16, isHostOrder: true)

    static let known: [NFDataType] = [
        ipv4Address, ipv6Address, ethernetAddress, transport, port, mark, classID, interfaceName,
    ]
}
