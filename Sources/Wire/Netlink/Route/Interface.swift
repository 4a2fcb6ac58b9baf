/// An interface's number within its network namespace; 0 on the wire means "none".
public struct InterfaceIndex: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ value: UInt32) { self.rawValue = value }
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public var description: String { "#\(rawValue)" }
}

/// `IFF_*`: what an interface is and does.
public struct InterfaceFlags: OptionSet, Hashable, Sendable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let up = InterfaceFlags(rawValue: 1 << 0)
    public static let broadcast = InterfaceFlags(rawValue: 1 << 1)
    public static let loopback = InterfaceFlags(rawValue: 1 << 3)
    public static let running = InterfaceFlags(rawValue: 1 << 6)
    public static let noARP = InterfaceFlags(rawValue: 1 << 7)
    public static let promiscuous = InterfaceFlags(rawValue: 1 << 8)
    public static let multicast = InterfaceFlags(rawValue: 1 << 12)
    /// The carrier is there: a veth's peer is up too.
    public static let lowerUp = InterfaceFlags(rawValue: 1 << 16)
}

/// The longest name that the kernel takes for an interface (`IFNAMSIZ` − 1).
public let maximumInterfaceNameLength = 15

/// Whether the kernel would take `name` for an interface: 1 to 15 bytes, no slash, colon or white space, not `.` or `..`
/// (`dev_valid_name`).
public func isInterfaceName(_ name: String) -> Bool {
    let bytes = name.utf8
    guard (1...maximumInterfaceNameLength).contains(bytes.count), name != ".", name != ".." else { return false }
    return bytes.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
}
