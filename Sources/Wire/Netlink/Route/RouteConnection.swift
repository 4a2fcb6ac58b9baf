import Bytes

/// rtnetlink in plain blocking calls: requests out, values back. For command-line programs and threads that may wait; a kernel
/// answer takes microseconds, unless another holder of the RTNL lock keeps it longer.
///
/// Belongs to one thread at a time. It stays in the network namespace in which it was opened, whatever its user does.
public final class RouteConnection {
    private let connection: NetlinkConnection

    /// Opens in the calling thread's namespace, or in the one behind `namespace` (an open descriptor, borrowed).
    public init(namespace: CInt? = nil) throws(NetlinkError) {
        connection = try NetlinkConnection(.route, namespace: namespace)
    }

    /// Sends all requests at once and gives each one's answer, in order. One that fails does not stop the others.
    public func results(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [Result<[RouteEvent], NetlinkError>] {
        try connection.exchange(requests).map { result in
            result.map { replies in
                replies.compactMap { reply in
                    reply.payload.withUnsafeBytes { RouteEvent(type: reply.type, payload: $0) }
                }
            }
        }
    }

    /// Sends all requests at once; throws the first failure after all were answered.
    @discardableResult
    public func perform(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [RouteEvent] {
        var events: [RouteEvent] = []
        for result in try results(requests) { events += try result.get() }
        return events
    }

    /// What a dump brings, as of one moment, as far as `select` takes it.
    private func dump<Value>(_ request: NetlinkRequest, _ select: (RouteEvent) -> Value?) throws(NetlinkError)
        -> [Value]
    {
        try connection.dump(request) { message in
            RouteEvent(type: message.type, payload: message.payload).flatMap(select)
        }
    }
}

extension RouteConnection {
    public func links() throws(NetlinkError) -> [Link] {
        try dump(.links) { event in
            if case .link(let link) = event { link } else { nil }
        }
    }

    /// Nil where there is none of that name.
    public func link(named name: String) throws(NetlinkError) -> Link? {
        do { return try perform([.get(linkNamed: name)]).links.first } catch  where error.isAbsence { return nil }
    }

    public func addresses(on device: InterfaceIndex? = nil) throws(NetlinkError) -> [InterfaceAddress] {
        try dump(.addresses) { event in
            guard case .address(let address) = event, device == nil || address.device == device else { return nil }
            return address
        }
    }

    /// Of one table, both families, and if said of one origin.
    public func routes(table: RouteTable = .main, origin: RouteOrigin? = nil) throws(NetlinkError) -> [Route] {
        var found: [Route] = []
        for family in IPAddress.Family.both {
            do {
                found += try dump(.routes(family, table: table, origin: origin)) { event in
                    // The kernel filters where it knows how to; an old one sends everything.
                    guard case .route(let route) = event, route.table == table, origin == nil || route.origin == origin
                    else { return nil }
                    return route
                }
            } catch  where error.isAbsence {
                // A table comes with its first route.
                continue
            }
        }
        return found
    }

    public func neighbours(on device: InterfaceIndex? = nil) throws(NetlinkError) -> [Neighbour] {
        var found: [Neighbour] = []
        for family in IPAddress.Family.both {
            found += try dump(.neighbours(family, on: device)) { event in
                guard case .neighbour(let neighbour) = event, device == nil || neighbour.device == device
                else { return nil }
                return neighbour
            }
        }
        return found
    }

    public func forwardingEntries(on device: InterfaceIndex? = nil) throws(NetlinkError) -> [ForwardingEntry] {
        try dump(.forwardingEntries(on: device)) { event in
            guard case .forwarding(let entry) = event, device == nil || entry.device == device else { return nil }
            return entry
        }
    }

    public func rules(_ family: IPAddress.Family) throws(NetlinkError) -> [RoutingRule] {
        try dump(.rules(family)) { event in
            guard case .rule(let rule) = event, rule.family == family else { return nil }
            return rule
        }
    }

    /// The route that a packet would take now.
    public func lookup(_ destination: IPAddress, from source: IPAddress? = nil) throws(NetlinkError) -> Route? {
        try perform([.lookup(destination, from: source)]).compactMap { event in
            if case .route(let route) = event { route } else { nil }
        }.first
    }
}

extension RouteConnection {
    /// The number that the namespace behind an open descriptor has here; nil for none.
    public func namespaceID(of descriptor: CInt) throws(NetlinkError) -> NamespaceID? {
        for case .namespaceID(let id) in try perform([.namespaceID(of: descriptor)]) where id != .unassigned {
            return id
        }
        return nil
    }
}

extension [RouteEvent] {
    /// The links among the events.
    public var links: [Link] {
        compactMap { event in
            if case .link(let link) = event { link } else { nil }
        }
    }
}

extension IPAddress.Family {
    static let both: [IPAddress.Family] = [.v4, .v6]
}
