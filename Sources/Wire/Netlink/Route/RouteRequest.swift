import Bytes

// The verbs of rtnetlink, each an object's request for a `NetlinkConnection`. Pure values.
//
// Several may go in one send; the kernel runs them in order and answers each, and one that fails neither stops nor undoes the
// others.

/// What to do where the object may be there already.
public enum Existing: Sendable {
    /// Fail with EEXIST.
    case refuse
    /// Make it say what we say.
    case replace

    var flags: NetlinkFlags { self == .refuse ? [.create, .exclusive] : [.create, .replace] }
}

extension NetlinkRequest {
    fileprivate init(_ type: UInt16, _ flags: NetlinkFlags, _ subject: String, _ body: [UInt8]) {
        self.init(type: type, flags: flags, body: body, subject: subject)
    }
}

// MARK: Links

extension NetlinkRequest {
    /// Makes a link; of a veth also its other end.
    public static func create(_ link: LinkSpec) -> NetlinkRequest {
        var body = NetlinkWriter()
        link.encode(into: &body)
        return NetlinkRequest(
            RTM.newLink, [.create, .exclusive], "create \(link.kind?.name ?? "link") \(link.name)", body.bytes)
    }

    public static func change(_ index: InterfaceIndex, _ change: LinkChange) -> NetlinkRequest {
        var body = NetlinkWriter()
        let up: InterfaceFlags = change.isUp == true ? .up : []
        body.linkHeader(index: index, flags: up, changed: change.isUp == nil ? [] : .up)
        if let name = change.name { body.attribute(IFLA.ifname, name) }
        if let mtu = change.mtu { body.attribute(IFLA.mtu, mtu) }
        if let mac = change.hardwareAddress { body.attribute(IFLA.address, mac) }
        if let alias = change.alias { body.attribute(IFLA.ifalias, alias) }
        switch change.master {
        case .some(.none): body.attribute(IFLA.master, UInt32(0))
        case .some(.link(let master)): body.attribute(IFLA.master, master.rawValue)
        case nil: break
        }
        if let namespace = change.namespace { body.attribute(IFLA.netNsFd, UInt32(bitPattern: namespace)) }
        return NetlinkRequest(RTM.setLink, [], "change link \(index)", body.bytes)
    }

    public static func delete(link index: InterfaceIndex) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.linkHeader(index: index)
        return NetlinkRequest(RTM.delLink, [], "delete link \(index)", body.bytes)
    }

    public static func delete(linkNamed name: String) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.linkHeader()
        body.attribute(IFLA.ifname, name)
        return NetlinkRequest(RTM.delLink, [], "delete link \(name)", body.bytes)
    }

    public static func get(link index: InterfaceIndex) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.linkHeader(index: index)
        return NetlinkRequest(RTM.getLink, [], "get link \(index)", body.bytes)
    }

    public static func get(linkNamed name: String) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.linkHeader()
        body.attribute(IFLA.ifname, name)
        return NetlinkRequest(RTM.getLink, [], "get link \(name)", body.bytes)
    }
}

// MARK: Addresses

extension NetlinkRequest {
    public static func add(_ address: InterfaceAddress, existing: Existing = .refuse) -> NetlinkRequest {
        NetlinkRequest(RTM.newAddr, existing.flags, "add address \(address.address)", address.encoded())
    }

    public static func delete(_ address: InterfaceAddress) -> NetlinkRequest {
        NetlinkRequest(RTM.delAddr, [], "delete address \(address.address)", address.encoded())
    }
}

// MARK: Routes

extension NetlinkRequest {
    public static func add(_ route: Route, existing: Existing = .replace) -> NetlinkRequest {
        NetlinkRequest(RTM.newRoute, existing.flags, "add route \(route.destination)", route.encoded())
    }

    /// Deletes the route that matches in destination, table and priority, and in what else `route` names.
    public static func delete(_ route: Route) -> NetlinkRequest {
        NetlinkRequest(RTM.delRoute, [], "delete route \(route.destination)", route.encoded())
    }

    /// Asks which route a packet to `destination` would take now.
    public static func lookup(_ destination: IPAddress, from source: IPAddress? = nil) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.routeHeader(family: destination.family, destinationLength: destination.family.bitWidth, sourceLength: 0)
        body.attribute(RTA.dst, destination)
        if let source { body.attribute(RTA.src, source) }
        return NetlinkRequest(RTM.getRoute, [], "look up route to \(destination)", body.bytes)
    }
}

// MARK: Neighbours and forwarding entries

extension NetlinkRequest {
    public static func add(_ neighbour: Neighbour, existing: Existing = .replace) -> NetlinkRequest {
        NetlinkRequest(RTM.newNeigh, existing.flags, "add neighbour \(neighbour.address)", neighbour.encoded())
    }

    public static func delete(_ neighbour: Neighbour) -> NetlinkRequest {
        NetlinkRequest(RTM.delNeigh, [], "delete neighbour \(neighbour.address)", neighbour.encoded())
    }

    public static func add(_ entry: ForwardingEntry, existing: Existing = .replace) -> NetlinkRequest {
        NetlinkRequest(RTM.newNeigh, existing.flags, "add forwarding entry \(entry.hardwareAddress)", entry.encoded())
    }

    public static func delete(_ entry: ForwardingEntry) -> NetlinkRequest {
        NetlinkRequest(RTM.delNeigh, [], "delete forwarding entry \(entry.hardwareAddress)", entry.encoded())
    }
}

// MARK: Rules

extension NetlinkRequest {
    public static func add(_ rule: RoutingRule) -> NetlinkRequest {
        NetlinkRequest(
            RTM.newRule, [.create, .exclusive], "add rule \(rule.priority.map(String.init) ?? "")", rule.encoded())
    }

    public static func delete(_ rule: RoutingRule) -> NetlinkRequest {
        NetlinkRequest(RTM.delRule, [], "delete rule \(rule.priority.map(String.init) ?? "")", rule.encoded())
    }
}

// MARK: Namespaces

extension NetlinkRequest {
    /// Gives the namespace behind an open descriptor a number here; nil lets the kernel choose. EEXIST where it has one.
    public static func assignID(_ id: NamespaceID?, toNamespace descriptor: CInt) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.genericHeader(family: AF.unspec)
        body.attribute(NETNSA.fd, UInt32(bitPattern: descriptor))
        body.attribute(NETNSA.nsid, UInt32(bitPattern: (id ?? .unassigned).rawValue))
        return NetlinkRequest(RTM.newNsid, [], "number namespace", body.bytes)
    }

    /// Asks for that number; the answer is `.unassigned` where it has none.
    public static func namespaceID(of descriptor: CInt) -> NetlinkRequest {
        var body = NetlinkWriter()
        body.genericHeader(family: AF.unspec)
        body.attribute(NETNSA.fd, UInt32(bitPattern: descriptor))
        return NetlinkRequest(RTM.getNsid, [], "get namespace number", body.bytes)
    }
}
