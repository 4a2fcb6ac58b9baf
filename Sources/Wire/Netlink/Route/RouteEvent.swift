/// What the kernel says happened, or what a dump brought: one rtnetlink message as a value.
public enum RouteEvent: Hashable, Sendable {
    case link(Link)
    case linkGone(Link)
    case address(InterfaceAddress)
    case addressGone(InterfaceAddress)
    case route(Route)
    case routeGone(Route)
    case neighbour(Neighbour)
    case neighbourGone(Neighbour)
    case forwarding(ForwardingEntry)
    case forwardingGone(ForwardingEntry)
    case rule(RoutingRule)
    case ruleGone(RoutingRule)
    case namespaceID(NamespaceID)

    /// Reads a message's payload by its type; nil for messages of no interest here and for malformed ones.
    public init?(type: UInt16, payload: UnsafeRawBufferPointer) {
        func some<Value>(_ value: Value?, _ make: (Value) -> RouteEvent) -> RouteEvent? { value.map(make) }
        let event: RouteEvent? =
            switch type {
            case RTM.newLink: some(Link(payload), RouteEvent.link)
            case RTM.delLink: some(Link(payload), RouteEvent.linkGone)
            case RTM.newAddr: some(InterfaceAddress(payload), RouteEvent.address)
            case RTM.delAddr: some(InterfaceAddress(payload), RouteEvent.addressGone)
            case RTM.newRoute: some(Route(payload), RouteEvent.route)
            case RTM.delRoute: some(Route(payload), RouteEvent.routeGone)
            case RTM.newNeigh:
                some(Neighbour(payload), RouteEvent.neighbour)
                    ?? some(ForwardingEntry(payload), RouteEvent.forwarding)
            case RTM.delNeigh:
                some(Neighbour(payload), RouteEvent.neighbourGone)
                    ?? some(ForwardingEntry(payload), RouteEvent.forwardingGone)
            case RTM.newRule: some(RoutingRule(payload), RouteEvent.rule)
            case RTM.delRule: some(RoutingRule(payload), RouteEvent.ruleGone)
            case RTM.newNsid: some(NamespaceID(payload), RouteEvent.namespaceID)
            default: nil
            }
        guard let event else { return nil }
        self = event
    }
}

/// What a connection can listen to: the multicast groups of rtnetlink (`RTNLGRP_*`).
public enum RouteGroup: UInt32, Sendable, CaseIterable {
    case link = 1
    case neighbour = 3
    case trafficControl = 4
    case addressV4 = 5
    case routeV4 = 7
    case ruleV4 = 8
    case addressV6 = 9
    case routeV6 = 11
    case ruleV6 = 19
    case namespaceID = 28
}
