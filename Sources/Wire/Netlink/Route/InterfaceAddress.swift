import Bytes

/// An address that an interface carries.
public struct InterfaceAddress: Hashable, Sendable {
    public var device: InterfaceIndex
    /// The address itself and the length of its prefix. Not masked: `10.0.0.5/24` is address 10.0.0.5.
    public var address: CIDR
    /// The other end of a point-to-point link.
    public var peer: IPAddress?
    public var scope: RouteScope
    public var flags: Flags
    public var label: String?

    /// `IFA_F_*`.
    public struct Flags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// No duplicate address detection: usable at once, not after up to a second (IPv6).
        public static let noDuplicateDetection = Flags(rawValue: 0x02)
        public static let tentative = Flags(rawValue: 0x40)
        public static let permanent = Flags(rawValue: 0x80)
        /// No route for the prefix comes with the address.
        public static let noPrefixRoute = Flags(rawValue: 0x200)
    }

    public init(
        device: InterfaceIndex, address: CIDR, peer: IPAddress? = nil, scope: RouteScope = .universe,
        flags: Flags = [], label: String? = nil
    ) {
        self.device = device
        self.address = address
        self.peer = peer
        self.scope = scope
        self.flags = flags
        self.label = label
    }
}
