import Bytes

/// What a neighbour entry is worth (`NUD_*`).
public struct NeighbourState: OptionSet, Hashable, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let incomplete = NeighbourState(rawValue: 0x01)
    public static let reachable = NeighbourState(rawValue: 0x02)
    public static let stale = NeighbourState(rawValue: 0x04)
    public static let failed = NeighbourState(rawValue: 0x20)
    public static let noARP = NeighbourState(rawValue: 0x40)
    /// Never ages, never asked for.
    public static let permanent = NeighbourState(rawValue: 0x80)
}

/// The link-layer address of a neighbour: an ARP or neighbour-discovery entry.
public struct Neighbour: Hashable, Sendable {
    public var device: InterfaceIndex
    public var address: IPAddress
    /// Nil while it is not resolved.
    public var hardwareAddress: MACAddress?
    public var state: NeighbourState

    public init(
        device: InterfaceIndex, address: IPAddress, hardwareAddress: MACAddress?, state: NeighbourState = .permanent
    ) {
        self.device = device
        self.address = address
        self.hardwareAddress = hardwareAddress
        self.state = state
    }
}

/// An entry of a device's forwarding database: where frames for a hardware address go. On a VXLAN device that is another
/// host; on a bridge it is a port.
public struct ForwardingEntry: Hashable, Sendable {
    /// The VXLAN device, or the bridge's port.
    public var device: InterfaceIndex
    public var hardwareAddress: MACAddress
    /// The remote end of the tunnel; nil on a bridge.
    public var remote: IPAddress?
    /// Where in the tunnel's port and network the entry differs from the device's own.
    public var port: UInt16?
    public var vni: UInt32?
    /// The bridge whose database this is; nil for the device's own.
    public var bridge: InterfaceIndex?
    public var vlan: UInt16?
    public var state: NeighbourState

    public init(
        device: InterfaceIndex, hardwareAddress: MACAddress, remote: IPAddress? = nil, port: UInt16? = nil,
        vni: UInt32? = nil, bridge: InterfaceIndex? = nil, vlan: UInt16? = nil, state: NeighbourState = .permanent
    ) {
        self.device = device
        self.hardwareAddress = hardwareAddress
        self.remote = remote
        self.port = port
        self.vni = vni
        self.bridge = bridge
        self.vlan = vlan
        self.state = state
    }
}
