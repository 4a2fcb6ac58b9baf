import Bytes

// From values to the kernel's bytes. Headers and scalars are in host order; addresses and ports are in network order.

extension IPAddress.Family {
    /// The family as the wire writes it.
    var wire: UInt8 { self == .v4 ? AF.inet : AF.inet6 }
    var bitWidth: UInt8 { self == .v4 ? 32 : 128 }
    /// The prefix that holds every address: what a default route leads to.
    public var everywhere: CIDR {
        let any: IPAddress = self == .v4 ? .anyV4 : .anyV6
        return CIDR(any, prefixLength: 0) ?? CIDR(host: any)
    }

    init?(wire: UInt8) {
        switch wire {
        case AF.inet: self = .v4
        case AF.inet6: self = .v6
        default: return nil
        }
    }
}

extension NetlinkWriter {
    mutating func attribute(_ type: UInt16, _ address: MACAddress) {
        address.bytes.withUnsafeBytes { attribute(type, $0) }
    }

    /// `ifinfomsg`.
    mutating func linkHeader(
        family: UInt8 = AF.unspec, index: InterfaceIndex = InterfaceIndex(0), flags: InterfaceFlags = [],
        changed: InterfaceFlags = []
    ) {
        put(family)
        put(UInt8(0))
        put(UInt16(0))
        put(index.rawValue)
        put(flags.rawValue)
        put(changed.rawValue)
    }

    /// `ifaddrmsg`.
    mutating func addressHeader(family: UInt8, prefixLength: UInt8, flags: UInt8, scope: UInt8, index: UInt32) {
        put(family)
        put(prefixLength)
        put(flags)
        put(scope)
        put(index)
    }

    /// `rtmsg`.
    mutating func routeHeader(
        family: IPAddress.Family, destinationLength: UInt8, sourceLength: UInt8,
        table: RouteTable = .unspecified, origin: RouteOrigin = .unspecified, scope: RouteScope = .universe,
        type: UInt8 = 0, flags: UInt32 = 0
    ) {
        put(family.wire)
        put(destinationLength)
        put(sourceLength)
        put(UInt8(0))
        // Numbers beyond the byte go by RTA_TABLE alone.
        put(UInt8(exactly: table.rawValue) ?? 0)
        put(origin.rawValue)
        put(scope.rawValue)
        put(type)
        put(flags)
    }

    /// `ndmsg`.
    mutating func neighbourHeader(family: UInt8, index: InterfaceIndex, state: NeighbourState, flags: UInt8) {
        put(family)
        put(UInt8(0))
        put(UInt16(0))
        put(index.rawValue)
        put(state.rawValue)
        put(flags)
        put(UInt8(0))
    }

    /// `rtgenmsg`, padded to the attributes.
    mutating func genericHeader(family: UInt8) {
        put(family)
        put(UInt8(0))
        put(UInt16(0))
    }
}

extension LinkSpec {
    /// Header and attributes; also the body of a veth's peer attribute.
    func encode(into body: inout NetlinkWriter) {
        body.linkHeader(index: index ?? InterfaceIndex(0), flags: isUp ? .up : [], changed: isUp ? .up : [])
        body.attribute(IFLA.ifname, name)
        if let hardwareAddress { body.attribute(IFLA.address, hardwareAddress) }
        if let mtu { body.attribute(IFLA.mtu, mtu) }
        if let link { body.attribute(IFLA.link, link.rawValue) }
        if let master { body.attribute(IFLA.master, master.rawValue) }
        if let namespace { body.attribute(IFLA.netNsFd, UInt32(bitPattern: namespace)) }
        guard let kind else { return }
        body.nest(IFLA.linkinfo) { info in
            info.attribute(IFLA.Info.kind, kind.name)
            kind.encodeOptions(into: &info)
        }
    }
}

extension LinkKind {
    fileprivate func encodeOptions(into info: inout NetlinkWriter) {
        switch self {
        case .other, .veth(peer: nil): break
        case .veth(.some(let peer)):
            info.nest(IFLA.Info.data) { data in
                data.nest(IFLA.Veth.peer) { peer.encode(into: &$0) }
            }
        case .bridge(let bridge):
            info.nest(IFLA.Info.data) { data in
                if let delay = bridge.forwardDelay { data.attribute(IFLA.Bridge.forwardDelay, delay) }
                if let stp = bridge.spanningTree { data.attribute(IFLA.Bridge.stpState, UInt32(stp ? 1 : 0)) }
                if let vlan = bridge.vlanFiltering { data.attribute(IFLA.Bridge.vlanFiltering, UInt8(vlan ? 1 : 0)) }
            }
        case .macvlan(let macvlan):
            info.nest(IFLA.Info.data) { $0.attribute(IFLA.Macvlan.mode, macvlan.mode.rawValue) }
        case .vxlan(let vxlan):
            info.nest(IFLA.Info.data) { data in
                data.attribute(IFLA.VXLAN.id, vxlan.vni)
                data.attribute(IFLA.VXLAN.port, vxlan.port.bigEndian)
                data.attribute(IFLA.VXLAN.learning, UInt8(vxlan.learning ? 1 : 0))
                if let device = vxlan.device { data.attribute(IFLA.VXLAN.link, device.rawValue) }
                if let local = vxlan.local {
                    data.attribute(local.family == .v4 ? IFLA.VXLAN.local : IFLA.VXLAN.local6, local)
                }
            }
        }
    }
}

extension InterfaceAddress {
    func encoded() -> [UInt8] {
        var body = NetlinkWriter()
        body.addressHeader(
            family: address.address.family.wire, prefixLength: address.prefixLength,
            flags: UInt8(truncatingIfNeeded: flags.rawValue), scope: scope.rawValue, index: device.rawValue)
        body.attribute(IFA.local, address.address)
        body.attribute(IFA.address, peer ?? address.address)
        if let label { body.attribute(IFA.label, label) }
        if !flags.isEmpty { body.attribute(IFA.flags, flags.rawValue) }
        return body.bytes
    }
}

extension Route {
    func encoded() -> [UInt8] {
        var body = NetlinkWriter()
        body.routeHeader(
            family: destination.address.family, destinationLength: destination.prefixLength, sourceLength: 0,
            table: table, origin: origin, scope: scope, type: type.rawValue, flags: flags.rawValue)
        if destination.prefixLength > 0 { body.attribute(RTA.dst, destination.address) }
        body.attribute(RTA.table, table.rawValue)
        if let device { body.attribute(RTA.oif, device.rawValue) }
        if let gateway { body.gateway(gateway, destinationFamily: destination.address.family) }
        if let priority { body.attribute(RTA.priority, priority) }
        if let preferredSource { body.attribute(RTA.prefsrc, preferredSource) }
        if mtu != nil || advertisedMSS != nil {
            body.nest(RTA.metrics) { metrics in
                if let mtu { metrics.attribute(RTA.Metric.mtu, mtu) }
                if let advertisedMSS { metrics.attribute(RTA.Metric.advmss, advertisedMSS) }
            }
        }
        if !nextHops.isEmpty {
            var hops = NetlinkWriter()
            for hop in nextHops { hops.nextHop(hop, destinationFamily: destination.address.family) }
            hops.bytes.withUnsafeBytes { body.attribute(RTA.multipath, $0) }
        }
        return body.bytes
    }
}

extension NetlinkWriter {
    fileprivate mutating func gateway(_ gateway: IPAddress, destinationFamily: IPAddress.Family) {
        guard gateway.family != destinationFamily else { return attribute(RTA.gateway, gateway) }
        // `rtvia`: the family, then the address.
        var via = NetlinkWriter()
        via.put(UInt16(gateway.family.wire))
        gateway.withBytes { via.put($0) }
        via.bytes.withUnsafeBytes { attribute(RTA.via, $0) }
    }

    /// `rtnexthop` and the attributes that belong to it. Its length counts both.
    fileprivate mutating func nextHop(_ hop: Route.NextHop, destinationFamily: IPAddress.Family) {
        var attributes = NetlinkWriter()
        if let gateway = hop.gateway { attributes.gateway(gateway, destinationFamily: destinationFamily) }
        put(UInt16(8 + attributes.bytes.count))
        put(UInt8(truncatingIfNeeded: hop.flags.rawValue))
        put(UInt8(clamping: max(1, hop.weight) - 1))
        put(hop.device.rawValue)
        attributes.bytes.withUnsafeBytes { put($0) }
    }
}

extension Neighbour {
    func encoded() -> [UInt8] {
        var body = NetlinkWriter()
        body.neighbourHeader(family: address.family.wire, index: device, state: state, flags: 0)
        body.attribute(NDA.dst, address)
        if let hardwareAddress { body.attribute(NDA.lladdr, hardwareAddress) }
        return body.bytes
    }
}

extension ForwardingEntry {
    /// `NTF_SELF`: the device's own database; `NTF_MASTER`: the bridge's above it.
    private enum Owner {
        static let device: UInt8 = 0x02
        static let bridge: UInt8 = 0x04
    }

    func encoded() -> [UInt8] {
        var body = NetlinkWriter()
        // A bridge counts a static entry as NOARP and a local one as PERMANENT; a tunnel wants PERMANENT.
        let owner = bridge == nil ? Owner.device : Owner.bridge
        body.neighbourHeader(family: AF.bridge, index: device, state: state, flags: owner)
        body.attribute(NDA.lladdr, hardwareAddress)
        if let remote { body.attribute(NDA.dst, remote) }
        if let port { body.attribute(NDA.port, port.bigEndian) }
        if let vni { body.attribute(NDA.vni, vni) }
        if let vlan { body.attribute(NDA.vlan, vlan) }
        return body.bytes
    }
}

extension RoutingRule {
    func encoded() -> [UInt8] {
        var body = NetlinkWriter()
        // `fib_rule_hdr`.
        body.put(family.wire)
        body.put(destination?.prefixLength ?? 0)
        body.put(source?.prefixLength ?? 0)
        body.put(UInt8(0))
        body.put(UInt8(exactly: table.rawValue) ?? 0)
        body.put(UInt8(0))
        body.put(UInt8(0))
        body.put(action.rawValue)
        body.put(UInt32(0))
        if let destination { body.attribute(FRA.dst, destination.address) }
        if let source { body.attribute(FRA.src, source.address) }
        if let priority { body.attribute(FRA.priority, priority) }
        if let mark { body.attribute(FRA.fwmark, mark) }
        if let markMask { body.attribute(FRA.fwmask, markMask) }
        if let incomingInterface { body.attribute(FRA.iifname, incomingInterface) }
        if let outgoingInterface { body.attribute(FRA.oifname, outgoingInterface) }
        if action == .lookup { body.attribute(FRA.table, table.rawValue) }
        if let suppressPrefixLength { body.attribute(FRA.suppressPrefixLength, suppressPrefixLength) }
        body.attribute(FRA.protocol, origin.rawValue)
        return body.bytes
    }
}
