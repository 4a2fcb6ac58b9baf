import Bytes
import Glibc

// Questions for all objects of a kind, for `NetlinkConnection.dump`. What the kernel can filter (with strict checking on) it
// filters.

extension NetlinkRequest {
    private static func list(_ what: String, _ type: UInt16, _ build: (inout NetlinkWriter) -> Void) -> NetlinkRequest {
        var writer = NetlinkWriter()
        build(&writer)
        return NetlinkRequest(type: type, body: writer.bytes, subject: "list \(what)")
    }

    public static let links = list("links", RTM.getLink) { $0.linkHeader() }

    public static let addresses = list("addresses", RTM.getAddr) {
        $0.addressHeader(family: AF.unspec, prefixLength: 0, flags: 0, scope: 0, index: 0)
    }

    public static func routes(
        _ family: IPAddress.Family, table: RouteTable = .unspecified, origin: RouteOrigin? = nil
    ) -> NetlinkRequest {
        list("routes", RTM.getRoute) {
            $0.routeHeader(
                family: family, destinationLength: 0, sourceLength: 0, table: table, origin: origin ?? .unspecified)
            if table != .unspecified { $0.attribute(RTA.table, table.rawValue) }
        }
    }

    public static func neighbours(_ family: IPAddress.Family, on device: InterfaceIndex? = nil) -> NetlinkRequest {
        list("neighbours", RTM.getNeigh) {
            $0.neighbourHeader(family: family.wire, index: InterfaceIndex(0), state: [], flags: 0)
            if let device { $0.attribute(NDA.ifindex, device.rawValue) }
        }
    }

    public static func forwardingEntries(on device: InterfaceIndex? = nil) -> NetlinkRequest {
        list("forwarding entries", RTM.getNeigh) {
            $0.neighbourHeader(family: AF.bridge, index: device ?? InterfaceIndex(0), state: [], flags: 0)
        }
    }

    public static func rules(_ family: IPAddress.Family) -> NetlinkRequest {
        list("rules", RTM.getRule) {
            // `fib_rule_hdr`.
            $0.put(family.wire)
            for _ in 0..<7 { $0.put(UInt8(0)) }
            $0.put(UInt32(0))
        }
    }
}

extension NetlinkError {
    /// The object is not there: no such device, route, entry or address.
    public var isAbsence: Bool { [ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL].contains(errno) }
    /// The object is there already.
    public var isPresence: Bool { errno == EEXIST }
}
