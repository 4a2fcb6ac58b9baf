import Bytes
import Glibc
import Netlink
import Reactor

/// The network that the nodes stand on: a bridge of this machine, and for each node a namespace with a cable to it.
struct Underlay {
    let record: ClusterRecord
    private let routes: RouteConnection

    init(_ record: ClusterRecord) throws {
        self.record = record
        routes = try RouteConnection()
    }

    static let bridgePrefix = "weft"
    private static let subnets = 0...255

    /// The first free number, or that of the subnet that was asked for, as bridge name and subnet.
    static func choose(_ wish: CIDR?) throws -> (bridge: String, subnet: CIDR) {
        let connection = try RouteConnection()
        var names = Set(try connection.links().map(\.name))
        // Names of namespaces are the machine's, also where each network namespace has interfaces of its own.
        for name in (try? Files.list(ClusterRecord.namespaceDirectory)) ?? [] {
            if let dash = name.lastIndex(of: "-") { names.insert(String(name[..<dash])) }
        }
        let taken = try connection.routes().map(\.destination).filter { $0.prefixLength > 0 }
        guard
            let numbers = names.isEmpty ? nil : subnets.map({ $0 }).filter({ !names.contains("\(bridgePrefix)\($0)") }),
            let first = numbers.first
        else { throw Refusal("no bridge name is free", hint: "weft down takes clusters away that are no longer used") }
        if let wish {
            if let other = taken.first(where: { $0.overlaps(wish) }) {
                throw Refusal(
                    "subnet \(wish) is taken: this machine has a route to \(other)", hint: "choose another --subnet")
            }
            return ("\(bridgePrefix)\(first)", wish)
        }
        for number in numbers {
            guard let subnet = CIDR(IPAddress(v4: 172, 30, UInt8(number), 0), prefixLength: 24) else { continue }
            if !taken.contains(where: { $0.overlaps(subnet) }) { return ("\(bridgePrefix)\(number)", subnet) }
        }
        throw Refusal("no subnet 172.30.N.0/24 is free", hint: "choose a --subnet")
    }

    static let forwardingFile = "/proc/sys/net/ipv4/ip_forward"
    static func isForwarding() -> Bool { (try? Files.readText(forwardingFile, limit: 16))?.first == "1" }

    /// Makes it all. What is there of it already is an error: `Preflight` found the folder free.
    func create() throws {
        try routes.perform([.create(LinkSpec(name: record.bridge, kind: .bridge(.init()), isUp: true))])
        guard let bridge = try routes.link(named: record.bridge)?.index,
            let address = CIDR(record.gateway, prefixLength: record.subnet.prefixLength)
        else {
            throw Refusal("the bridge \(record.bridge) vanished", hint: "does another program manage interfaces here?")
        }
        try routes.perform([.add(InterfaceAddress(device: bridge, address: address))])
        try Files.writeInPlace(Self.forwardingFile, "1")
        try Files.makeDirectories(ClusterRecord.namespaceDirectory)
        for node in record.nodes { try create(node, bridge: bridge) }
        try masquerade()
    }

    /// Named as the bridge, so that several clusters do not meet.
    private var table: NFTableName { NFTableName(.ip, record.bridge) }

    /// What nodes send to the world (their DNS server's questions, for one) leaves under this machine's address.
    private func masquerade() throws {
        let chain = NFChainName(table, "postrouting")
        var batch = NFBatch()
        batch.add(NFTable(table, comment: "weft cluster in \(record.directory)"))
        batch.add(NFChain(chain, base: NFChain.Base(.nat, .postrouting, priority: NFChain.Base.sourceNAT)))
        batch.append(
            NFRule(
                chain,
                NFExpression.match(.ipv4Source, .equal, record.subnet)
                    + NFExpression.match(.ipv4Destination, .notEqual, record.subnet) + [.masquerade()]))
        try NFTablesConnection().commit(batch)
    }

    private func create(_ node: ClusterRecord.Node, bridge: InterfaceIndex) throws {
        let namespace = try NamespaceHandle.create(pinnedAt: record.namespacePath(node))
        let inside = LinkSpec(name: "eth0", namespace: namespace.descriptor)
        try routes.perform([
            .create(LinkSpec(name: node.interface, kind: .veth(peer: inside), isUp: true, master: bridge))
        ])
        let connection = try RouteConnection(namespace: namespace.descriptor)
        let links = try connection.links()
        guard let loopback = links.first(where: { $0.flags.contains(.loopback) })?.index,
            let device = links.first(where: { $0.name == "eth0" })?.index,
            let address = CIDR(node.address, prefixLength: record.subnet.prefixLength)
        else {
            throw Refusal("node \(node.name) has no interface", hint: "does another program manage interfaces here?")
        }
        try connection.perform([
            .change(loopback, LinkChange(isUp: true)), .change(device, LinkChange(isUp: true)),
            .add(InterfaceAddress(device: device, address: address)),
            .add(
                Route(
                    destination: IPAddress.Family.v4.everywhere, device: device, gateway: record.gateway,
                    origin: .staticRoute)),
        ])
    }

    /// Takes it away, as far as it is there; gives what could not be.
    func remove() -> [String] {
        var failures: [String] = []
        func attempt(_ what: String, _ body: () throws -> Void) {
            do { try body() } catch let error as NetlinkError where error.isAbsence {} catch {
                failures.append("\(what): \(error)")
            }
        }
        for node in record.nodes {
            attempt("interface \(node.interface)") { try routes.perform([.delete(linkNamed: node.interface)]) }
            attempt("namespace \(record.namespaceName(node))") {
                try NamespaceHandle.unpin(record.namespacePath(node))
            }
        }
        attempt("bridge \(record.bridge)") { try routes.perform([.delete(linkNamed: record.bridge)]) }
        attempt("nftables table \(table)") {
            let connection = try NFTablesConnection()
            guard try connection.table(table) != nil else { return }
            var batch = NFBatch()
            batch.delete(table)
            try connection.commit(batch)
        }
        if !record.forwardedBefore, !othersStand() {
            attempt("forwarding") { try Files.writeInPlace(Self.forwardingFile, "0") }
        }
        return failures
    }

    /// Whether another cluster's bridge stands, which needs this machine to forward.
    private func othersStand() -> Bool {
        let names = (try? routes.links().filter { $0.kind?.name == "bridge" }.map(\.name)) ?? []
        return names.contains { name in
            name.hasPrefix(Self.bridgePrefix) && Int(name.dropFirst(Self.bridgePrefix.count)) != nil
        }
    }
}
