import Bytes

// From the kernel's bytes to values. A message that is too short for its header, or whose family is not one of ours, is nil; an
// attribute of the wrong size counts as absent. Nothing here traps on any input.

extension NetlinkAttribute {
    func address(_ family: IPAddress.Family) -> IPAddress? {
        value.count == (family == .v4 ? 4 : 16) ? IPAddress(bytes: value) : nil
    }

    var hardwareAddress: MACAddress? { value.count == 6 ? MACAddress(bytes: value) : nil }
    /// Zero is the kernel's "none".
    var index: InterfaceIndex? { u32.flatMap { $0 == 0 ? nil : InterfaceIndex($0) } }
}

/// The fixed header in front of the attributes, field by field.
private struct Header {
    private let bytes: UnsafeRawBufferPointer
    let attributes: NetlinkAttributes

    init?(_ payload: UnsafeRawBufferPointer, size: Int) {
        guard payload.count >= size else { return nil }
        bytes = UnsafeRawBufferPointer(rebasing: payload[..<size])
        attributes = NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[size...]))
    }

    func u8(_ offset: Int) -> UInt8 { bytes[offset] }
    func u16(_ offset: Int) -> UInt16 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
    func u32(_ offset: Int) -> UInt32 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
}

extension Link {
    init?(_ payload: UnsafeRawBufferPointer) {
        // An AF_BRIDGE message is a port's bridge state, not the link.
        guard let header = Header(payload, size: 16), header.u8(0) == AF.unspec else { return nil }
        self.init(index: InterfaceIndex(header.u32(4)), name: "", flags: InterfaceFlags(rawValue: header.u32(8)))
        for attribute in header.attributes {
            switch attribute.type {
            case IFLA.ifname: name = attribute.string ?? ""
            case IFLA.mtu: mtu = attribute.u32
            case IFLA.address: hardwareAddress = attribute.hardwareAddress
            case IFLA.master: master = attribute.index
            case IFLA.link: link = attribute.index
            case IFLA.linkNetnsid: linkNamespace = attribute.i32.map(NamespaceID.init(rawValue:))
            case IFLA.ifalias: alias = attribute.string
            case IFLA.operstate: operationalState = attribute.u8 ?? 0
            case IFLA.linkinfo: kind = LinkKind(attribute.nested)
            default: break
            }
        }
    }
}

extension LinkKind {
    fileprivate init?(_ info: NetlinkAttributes) {
        var name: String?
        var data: NetlinkAttributes?
        for attribute in info {
            switch attribute.type {
            case IFLA.Info.kind: name = attribute.string
            case IFLA.Info.data: data = attribute.nested
            default: break
            }
        }
        switch name {
        case nil: return nil
        case "veth": self = .veth(peer: nil)
        case "bridge": self = .bridge(Bridge(data))
        case "vxlan":
            guard let vxlan = VXLAN(data) else { return nil }
            self = .vxlan(vxlan)
        case "macvlan":
            guard let macvlan = Macvlan(data) else { return nil }
            self = .macvlan(macvlan)
        case .some(let other): self = .other(other)
        }
    }
}

extension LinkKind.Bridge {
    fileprivate init(_ data: NetlinkAttributes?) {
        self.init()
        guard let data else { return }
        for attribute in data {
            switch attribute.type {
            case IFLA.Bridge.forwardDelay: forwardDelay = attribute.u32
            case IFLA.Bridge.stpState: spanningTree = attribute.u32.map { $0 != 0 }
            case IFLA.Bridge.vlanFiltering: vlanFiltering = attribute.u8.map { $0 != 0 }
            default: break
            }
        }
    }
}

extension LinkKind.VXLAN {
    fileprivate init?(_ data: NetlinkAttributes?) {
        guard let data else { return nil }
        self.init(vni: 0, port: 0)
        for attribute in data {
            switch attribute.type {
            case IFLA.VXLAN.id: vni = attribute.u32 ?? 0
            case IFLA.VXLAN.port: port = attribute.u16.map(UInt16.init(bigEndian:)) ?? 0
            case IFLA.VXLAN.learning: learning = attribute.u8.map { $0 != 0 } ?? false
            case IFLA.VXLAN.link: device = attribute.index
            case IFLA.VXLAN.local: local = attribute.address(.v4)
            case IFLA.VXLAN.local6: local = attribute.address(.v6)
            default: break
            }
        }
    }
}

extension LinkKind.Macvlan {
    fileprivate init?(_ data: NetlinkAttributes?) {
        guard let data else { return nil }
        for attribute in data where attribute.type == IFLA.Macvlan.mode {
            guard let mode = attribute.u32.flatMap(Mode.init(rawValue:)) else { return nil }
            self.init(mode: mode)
            return
        }
        return nil
    }
}

extension InterfaceAddress {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 8), let family = IPAddress.Family(wire: header.u8(0)) else {
            return nil
        }
        var local: IPAddress?
        var other: IPAddress?
        var label: String?
        var flags = UInt32(header.u8(2))
        for attribute in header.attributes {
            switch attribute.type {
            case IFA.local: local = attribute.address(family)
            case IFA.address: other = attribute.address(family)
            case IFA.label: label = attribute.string
            case IFA.flags: flags = attribute.u32 ?? flags
            default: break
            }
        }
        // IPv6 sends IFA_ADDRESS alone; with IFA_LOCAL beside it, that is the address and the other is the peer.
        guard let own = local ?? other, let address = CIDR(own, prefixLength: header.u8(1)) else { return nil }
        self.init(
            device: InterfaceIndex(header.u32(4)), address: address,
            peer: other == own ? nil : other, scope: RouteScope(rawValue: header.u8(3)), flags: Flags(rawValue: flags),
            label: label)
    }
}

extension Route {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 12), let family = IPAddress.Family(wire: header.u8(0)) else {
            return nil
        }
        var destination = family.everywhere.address
        var table = UInt32(header.u8(4))
        var found = Route(
            destination: family.everywhere, origin: RouteOrigin(rawValue: header.u8(5)),
            scope: RouteScope(rawValue: header.u8(6)), type: RouteType(rawValue: header.u8(7)),
            flags: Flags(rawValue: header.u32(8)))
        for attribute in header.attributes {
            switch attribute.type {
            case RTA.dst:
                guard let address = attribute.address(family) else { return nil }
                destination = address
            case RTA.table: table = attribute.u32 ?? table
            case RTA.oif: found.device = attribute.index
            case RTA.gateway: found.gateway = attribute.address(family)
            case RTA.via: found.gateway = attribute.via
            case RTA.priority: found.priority = attribute.u32
            case RTA.prefsrc: found.preferredSource = attribute.address(family)
            case RTA.metrics:
                for metric in attribute.nested {
                    switch metric.type {
                    case RTA.Metric.mtu: found.mtu = metric.u32
                    case RTA.Metric.advmss: found.advertisedMSS = metric.u32
                    default: break
                    }
                }
            case RTA.multipath: found.nextHops = NextHop.list(attribute.value, family)
            default: break
            }
        }
        guard let prefix = CIDR(destination, prefixLength: header.u8(1)) else { return nil }
        found.destination = prefix.network
        found.table = RouteTable(rawValue: table)
        self = found
    }
}

extension NetlinkAttribute {
    /// `rtvia`: a family in two bytes, then an address of it.
    fileprivate var via: IPAddress? {
        guard value.count > 2,
            let family = IPAddress.Family(
                wire: UInt8(truncatingIfNeeded: value.loadUnaligned(fromByteOffset: 0, as: UInt16.self)))
        else { return nil }
        let address = UnsafeRawBufferPointer(rebasing: value[2...])
        return address.count == (family == .v4 ? 4 : 16) ? IPAddress(bytes: address) : nil
    }
}

extension Route.NextHop {
    /// `rtnexthop` after `rtnexthop`, each with its attributes within its own length.
    fileprivate static func list(_ bytes: UnsafeRawBufferPointer, _ family: IPAddress.Family) -> [Route.NextHop] {
        var hops: [Route.NextHop] = []
        var rest = bytes
        while rest.count >= 8 {
            let length = Int(rest.loadUnaligned(fromByteOffset: 0, as: UInt16.self))
            guard length >= 8, length <= rest.count else { break }
            var hop = Route.NextHop(
                device: InterfaceIndex(rest.loadUnaligned(fromByteOffset: 4, as: UInt32.self)), gateway: nil,
                weight: UInt16(rest[3]) + 1, flags: Route.Flags(rawValue: UInt32(rest[2])))
            for attribute in NetlinkAttributes(UnsafeRawBufferPointer(rebasing: rest[8..<length])) {
                switch attribute.type {
                case RTA.gateway: hop.gateway = attribute.address(family)
                case RTA.via: hop.gateway = attribute.via
                default: break
                }
            }
            hops.append(hop)
            let aligned = (length + 3) & ~3
            guard aligned < rest.count else { break }
            rest = UnsafeRawBufferPointer(rebasing: rest[aligned...])
        }
        return hops
    }
}

extension Neighbour {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 12), let family = IPAddress.Family(wire: header.u8(0)) else {
            return nil
        }
        var address: IPAddress?
        var mac: MACAddress?
        for attribute in header.attributes {
            switch attribute.type {
            case NDA.dst: address = attribute.address(family)
            case NDA.lladdr: mac = attribute.hardwareAddress
            default: break
            }
        }
        guard let address else { return nil }
        self.init(
            device: InterfaceIndex(header.u32(4)), address: address, hardwareAddress: mac,
            state: NeighbourState(rawValue: header.u16(8)))
    }
}

extension ForwardingEntry {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 12), header.u8(0) == AF.bridge else { return nil }
        var mac: MACAddress?
        var entry = ForwardingEntry(
            device: InterfaceIndex(header.u32(4)), hardwareAddress: MACAddress(0),
            state: NeighbourState(rawValue: header.u16(8)))
        for attribute in header.attributes {
            switch attribute.type {
            case NDA.lladdr: mac = attribute.hardwareAddress
            case NDA.dst: entry.remote = attribute.address
            case NDA.port: entry.port = attribute.u16.map(UInt16.init(bigEndian:))
            case NDA.vni: entry.vni = attribute.u32
            case NDA.vlan: entry.vlan = attribute.u16
            case NDA.master: entry.bridge = attribute.index
            default: break
            }
        }
        guard let mac else { return nil }
        entry.hardwareAddress = mac
        self = entry
    }
}

extension RoutingRule {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 12), let family = IPAddress.Family(wire: header.u8(0)),
            header.u8(1) <= family.bitWidth, header.u8(2) <= family.bitWidth,
            let action = Action(rawValue: header.u8(7))
        else { return nil }
        var table = UInt32(header.u8(4))
        self.init(family: family, action: action, origin: .unspecified)
        for attribute in header.attributes {
            switch attribute.type {
            case FRA.dst:
                destination = attribute.address(family).flatMap { CIDR($0, prefixLength: header.u8(1)) }
            case FRA.src: source = attribute.address(family).flatMap { CIDR($0, prefixLength: header.u8(2)) }
            case FRA.priority: priority = attribute.u32
            case FRA.fwmark: mark = attribute.u32
            case FRA.fwmask: markMask = attribute.u32
            case FRA.iifname: incomingInterface = attribute.string
            case FRA.oifname: outgoingInterface = attribute.string
            case FRA.table: table = attribute.u32 ?? table
            // The kernel writes all ones for "no such wish".
            case FRA.suppressPrefixLength: suppressPrefixLength = attribute.u32.flatMap { $0 == .max ? nil : $0 }
            case FRA.protocol: origin = RouteOrigin(rawValue: attribute.u8 ?? 0)
            default: break
            }
        }
        self.table = RouteTable(rawValue: table)
    }
}

extension NamespaceID {
    init?(_ payload: UnsafeRawBufferPointer) {
        guard let header = Header(payload, size: 4) else { return nil }
        for attribute in header.attributes where attribute.type == NETNSA.nsid {
            guard let value = attribute.i32 else { return nil }
            self.init(rawValue: value)
            return
        }
        return nil
    }
}
