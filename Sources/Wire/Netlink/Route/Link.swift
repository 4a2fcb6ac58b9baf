import Bytes

/// A network interface as the kernel reports it.
public struct Link: Hashable, Sendable {
    public var index: InterfaceIndex
    public var name: String
    public var flags: InterfaceFlags
    public var mtu: UInt32?
    /// Ethernet address; nil for devices without one (and for those whose address is not 6 bytes).
    public var hardwareAddress: MACAddress?
    /// The bridge or other device that this one is enslaved to.
    public var master: InterfaceIndex?
    /// The lower device (macvlan, vxlan) or the peer (veth). For a veth it is an index in `linkNamespace`.
    public var link: InterfaceIndex?
    /// The namespace that `link` counts in, where it is not this one.
    public var linkNamespace: NamespaceID?
    public var alias: String?
    public var kind: LinkKind?
    /// RFC 2863 operational state: 6 up, 2 down, 0 unknown (devices without carrier tracking).
    public var operationalState: UInt8

    public var isUp: Bool { flags.contains(.up) }
    public var hasCarrier: Bool { flags.contains(.lowerUp) }

    public init(
        index: InterfaceIndex, name: String, flags: InterfaceFlags = [], mtu: UInt32? = nil,
        hardwareAddress: MACAddress? = nil, master: InterfaceIndex? = nil, link: InterfaceIndex? = nil,
        linkNamespace: NamespaceID? = nil, alias: String? = nil, kind: LinkKind? = nil, operationalState: UInt8 = 0
    ) {
        self.index = index
        self.name = name
        self.flags = flags
        self.mtu = mtu
        self.hardwareAddress = hardwareAddress
        self.master = master
        self.link = link
        self.linkNamespace = linkNamespace
        self.alias = alias
        self.kind = kind
        self.operationalState = operationalState
    }
}

/// A link to be made.
///
/// An alias cannot be given at birth: the kernel leaves `IFLA_IFALIAS` of a creation unread. Set it by `LinkChange`.
public struct LinkSpec: Hashable, Sendable {
    public var name: String
    public var kind: LinkKind?
    /// A number of the caller's choice; nil lets the kernel choose.
    public var index: InterfaceIndex?
    public var mtu: UInt32?
    /// Set at birth rather than later: udev renames the address of what appears without one.
    public var hardwareAddress: MACAddress?
    /// Of a veth's peer the kernel takes no "up" at birth (there is nobody at the other end yet): ENOTCONN.
    public var isUp: Bool
    public var master: InterfaceIndex?
    /// The lower device of a macvlan.
    public var link: InterfaceIndex?
    /// An open namespace descriptor: the device is born there. Borrowed for the duration of the request.
    public var namespace: CInt?

    public init(
        name: String, kind: LinkKind? = nil, index: InterfaceIndex? = nil, mtu: UInt32? = nil,
        hardwareAddress: MACAddress? = nil, isUp: Bool = false, master: InterfaceIndex? = nil,
        link: InterfaceIndex? = nil, namespace: CInt? = nil
    ) {
        self.name = name
        self.kind = kind
        self.index = index
        self.mtu = mtu
        self.hardwareAddress = hardwareAddress
        self.isUp = isUp
        self.master = master
        self.link = link
        self.namespace = namespace
    }
}

/// What of an existing link is to change; nil leaves a property as it is.
public struct LinkChange: Hashable, Sendable {
    public var name: String?
    public var isUp: Bool?
    public var mtu: UInt32?
    public var hardwareAddress: MACAddress?
    public var alias: String?
    /// An open namespace descriptor to move the device to. Borrowed for the duration of the request.
    public var namespace: CInt?
    public var master: Master?

    public enum Master: Hashable, Sendable {
        case none
        case link(InterfaceIndex)
    }

    public init(
        name: String? = nil, isUp: Bool? = nil, mtu: UInt32? = nil, hardwareAddress: MACAddress? = nil,
        alias: String? = nil, namespace: CInt? = nil, master: Master? = nil
    ) {
        self.name = name
        self.isUp = isUp
        self.mtu = mtu
        self.hardwareAddress = hardwareAddress
        self.alias = alias
        self.namespace = namespace
        self.master = master
    }
}
