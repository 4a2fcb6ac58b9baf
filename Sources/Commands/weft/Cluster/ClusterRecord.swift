import Bytes
import Glibc
import JSON
import Reactor

/// What a cluster on this machine consists of. Written before the first part is made, so that whatever happens then, `weft down`
/// knows what to look for.
struct ClusterRecord: Sendable {
    struct Node: Sendable {
        var name: String
        var address: IPAddress
        /// Of its namespace, under /run/netns, and of its end of the bridge.
        var interface: String
    }

    var directory: String
    /// Eight hexadecimal digits that no other cluster of this machine has.
    var id: String
    var bridge: String
    var subnet: CIDR
    var port: UInt16
    var nodes: [Node]
    /// What /proc/sys/net/ipv4/ip_forward said before.
    var forwardedBefore: Bool

    static let podCIDR = "10.244.0.0/16"
    static let serviceCIDR = "10.96.0.0/12"
    static let dnsAddress = "10.96.0.10"

    /// The control plane's and the bridge's: the first of the subnet.
    var gateway: IPAddress { subnet.address.adding(1) }
    static func nodeAddress(_ index: Int, in subnet: CIDR) -> IPAddress { subnet.address.adding(UInt64(11 + index)) }
    static func nodeName(_ index: Int) -> String { "node-\(index + 1)" }

    /// Where the API server listens.
    var endpoint: String { "\(gateway):\(port)" }

    // MARK: Where things are

    static func file(_ directory: String) -> String { directory + "/cluster.json" }
    /// The record's name while the cluster is taken away: whoever would start something of it sees that it may not.
    static func goingFile(_ directory: String) -> String { directory + "/cluster.going" }
    var controlDirectory: String { directory + "/control" }
    var kubeconfig: String { directory + "/kubeconfig" }
    var logDirectory: String { directory + "/log" }
    /// Which process each program is, and which namespace each node: for scripts, and for `weft down`.
    var runDirectory: String { directory + "/run" }
    func namespaceFile(_ node: Node) -> String { "\(runDirectory)/\(node.name).netns" }
    func nodeDirectory(_ node: Node) -> String { "\(directory)/nodes/\(node.name)" }
    func kubeconfig(_ node: Node) -> String { nodeDirectory(node) + "/kubeconfig" }
    func namespaceName(_ node: Node) -> String { node.interface }
    func namespacePath(_ node: Node) -> String { "\(Self.namespaceDirectory)/\(namespaceName(node))" }
    /// Where iproute2 looks, so that `ip netns exec` works on nodes.
    static let namespaceDirectory = "/run/netns"
    var controlGroup: String { "/weft/\(id)" }

    // MARK: On disk

    /// Nil where the folder holds no cluster.
    static func load(_ directory: String) throws -> ClusterRecord? {
        guard let path = [file(directory), goingFile(directory)].first(where: Files.exists) else { return nil }
        let json = try JSONValue.parse(Files.read(path, limit: 1 << 20))
        guard let record = ClusterRecord(json, directory: directory) else {
            throw Refusal("\(path) is not a cluster's record", hint: "delete the folder by hand if it is of no use")
        }
        return record
    }

    /// Whether parts of it may be started.
    var isWanted: Bool { Files.exists(Self.file(directory)) }

    /// Says that it is to go, before anything is taken away.
    func markGoing() throws {
        guard isWanted else { return }
        guard rename(Self.file(directory), Self.goingFile(directory)) == 0 else {
            throw SystemError.last("rename", Self.file(directory))
        }
    }

    /// Forgets it: nothing is left to be taken away.
    func forget() throws {
        try Files.remove(Self.goingFile(directory))
        rmdir(directory)
    }

    func save() throws {
        let json: JSONValue = [
            "id": .string(id), "bridge": .string(bridge), "subnet": .string(subnet.description),
            "port": .int(Int64(port)),
            "forwardedBefore": .bool(forwardedBefore),
            "nodes": .array(
                nodes.map {
                    [
                        "name": .string($0.name), "address": .string($0.address.description),
                        "interface": .string($0.interface),
                    ]
                }),
        ]
        try Files.writeAtomically(Self.file(directory), Array(json.pretty().utf8), sync: true)
    }

    init(
        directory: String, id: String, bridge: String, subnet: CIDR, port: UInt16, nodes: [Node], forwardedBefore: Bool
    ) {
        self.directory = directory
        self.id = id
        self.bridge = bridge
        self.subnet = subnet
        self.port = port
        self.nodes = nodes
        self.forwardedBefore = forwardedBefore
    }

    private init?(_ json: JSONValue, directory: String) {
        guard let id = json["id"]?.string, id.utf8.count == 8, let bridge = json["bridge"]?.string,
            let subnet = json["subnet"]?.string.flatMap({ CIDR($0) }),
            let port = json["port"]?.int.flatMap({ UInt16(exactly: $0) }), let list = json["nodes"]?.array
        else { return nil }
        let nodes = list.compactMap { entry -> Node? in
            guard let name = entry["name"]?.string, let address = entry["address"]?.string.flatMap({ IPAddress($0) }),
                let interface = entry["interface"]?.string
            else { return nil }
            return Node(name: name, address: address, interface: interface)
        }
        guard nodes.count == list.count else { return nil }
        self.init(
            directory: directory, id: id, bridge: bridge, subnet: subnet, port: port, nodes: nodes,
            forwardedBefore: json["forwardedBefore"]?.bool ?? true)
    }
}

/// What a person asked `weft up` for.
struct ClusterWish: Sendable {
    var directory: String
    var nodes: Int
    var subnet: CIDR?
    var port: UInt16?
    var timeout: Duration
    var withDNS: Bool
}

/// Why a command does not do what it was asked, and what a person can do about it.
struct Refusal: Error, CustomStringConvertible {
    var reason: String
    var hint: String
    init(_ reason: String, hint: String) {
        self.reason = reason
        self.hint = hint
    }
    var description: String { "\(reason)\n  \(hint)" }
}
