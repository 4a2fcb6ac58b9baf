import Bytes

/// How far a destination or address is away (`RT_SCOPE_*`).
public struct RouteScope: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let universe = RouteScope(rawValue: 0)
    public static let link = RouteScope(rawValue: 253)
    public static let host = RouteScope(rawValue: 254)
    public static let nowhere = RouteScope(rawValue: 255)
}

/// Who put a route there (`RTPROT_*`): how a scan tells one's own from others'.
public struct RouteOrigin: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let unspecified = RouteOrigin(rawValue: 0)
    public static let redirect = RouteOrigin(rawValue: 1)
    public static let kernel = RouteOrigin(rawValue: 2)
    public static let boot = RouteOrigin(rawValue: 3)
    public static let staticRoute = RouteOrigin(rawValue: 4)
    /// Ours. Of the numbers that iproute2's `rt_protos` leaves free.
    public static let weft = RouteOrigin(rawValue: 87)
}

/// A routing table's number.
public struct RouteTable: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let unspecified = RouteTable(rawValue: 0)
    public static let main = RouteTable(rawValue: 254)
    public static let local = RouteTable(rawValue: 255)
}

/// What happens to a packet that meets a route (`RTN_*`).
public struct RouteType: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let unicast = RouteType(rawValue: 1)
    public static let local = RouteType(rawValue: 2)
    public static let broadcast = RouteType(rawValue: 3)
    public static let anycast = RouteType(rawValue: 4)
    public static let multicast = RouteType(rawValue: 5)
    public static let blackhole = RouteType(rawValue: 6)
    public static let unreachable = RouteType(rawValue: 7)
    public static let prohibit = RouteType(rawValue: 8)
}

/// One route: a destination, and where its packets go.
public struct Route: Hashable, Sendable {
    /// Masked to its prefix; the default route is `0.0.0.0/0` or `::/0`.
    public var destination: CIDR
    public var device: InterfaceIndex?
    /// May be of the other family than the destination (IPv4 by an IPv6 neighbour).
    public var gateway: IPAddress?
    public var table: RouteTable
    public var origin: RouteOrigin
    public var scope: RouteScope
    public var type: RouteType
    /// Lower is preferred; nil and 0 are the same to the kernel for IPv4, IPv6 makes 1024 of them.
    public var priority: UInt32?
    public var preferredSource: IPAddress?
    public var flags: Flags
    /// Largest packet for destinations of this route.
    public var mtu: UInt32?
    /// Largest TCP segment to advertise to them.
    public var advertisedMSS: UInt32?
    /// More than one way, by weight. Empty where `device` and `gateway` say it.
    public var nextHops: [NextHop]

    /// `RTNH_F_*`.
    public struct Flags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let dead = Flags(rawValue: 1)
        /// The gateway is on the link whatever the addresses say: no route to it is asked for.
        public static let onlink = Flags(rawValue: 4)
        public static let linkDown = Flags(rawValue: 16)
    }

    public struct NextHop: Hashable, Sendable {
        public var device: InterfaceIndex
        public var gateway: IPAddress?
        /// 1…256.
        public var weight: UInt16
        public var flags: Flags

        public init(device: InterfaceIndex, gateway: IPAddress?, weight: UInt16 = 1, flags: Flags = []) {
            self.device = device
            self.gateway = gateway
            self.weight = weight
            self.flags = flags
        }
    }

    public init(
        destination: CIDR, device: InterfaceIndex? = nil, gateway: IPAddress? = nil, table: RouteTable = .main,
        origin: RouteOrigin = .weft, scope: RouteScope? = nil, type: RouteType = .unicast, priority: UInt32? = nil,
        preferredSource: IPAddress? = nil, flags: Flags = [], mtu: UInt32? = nil, advertisedMSS: UInt32? = nil,
        nextHops: [NextHop] = []
    ) {
        self.destination = destination.network
        self.device = device
        self.gateway = gateway
        self.table = table
        self.origin = origin
        // What `ip route` does: a route that names no gateway reaches only its link.
        let direct = gateway == nil && nextHops.isEmpty && type == .unicast && destination.address.family == .v4
        self.scope = scope ?? (direct ? .link : .universe)
        self.type = type
        self.priority = priority
        self.preferredSource = preferredSource
        self.flags = flags
        self.mtu = mtu
        self.advertisedMSS = advertisedMSS
        self.nextHops = nextHops
    }
}
