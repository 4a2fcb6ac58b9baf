public import Bytes
import Netlink

/// Who was refused lately, as the kernel remembers it.
public struct DeniedFlow: Hashable, Sendable {
    /// The profile that did not let it pass.
    var profile: UInt32
    public var client: IPAddress
    public var server: IPAddress
    /// IP protocol number.
    public var transport: UInt8
    /// The server's; 0 for protocols without.
    public var port: Port
    /// Milliseconds since the last packet.
    public var age: UInt64
}

extension KernelPolicies {
    /// Read from a node's kernel, by whoever may: the table need not be ours.
    static func denied(_ table: PolicyTable, through connection: NFTablesConnection) throws(NetlinkError)
        -> [DeniedFlow]
    {
        var flows: [DeniedFlow] = []
        for family in [IPAddress.Family.v4, .v6] {
            let size = family == .v4 ? 4 : 16
            for element in try connection.elements(of: table.denied(family).id) {
                let flow = element.key.withUnsafeBytes { bytes -> DeniedFlow? in
                    var cursor = ByteCursor(bytes)
                    guard let profile = cursor.readBytes(4)?.loadUnaligned(as: UInt32.self),
                        let client = cursor.readBytes(size).flatMap(IPAddress.init(bytes:)),
                        let server = cursor.readBytes(size).flatMap(IPAddress.init(bytes:)),
                        let transport = cursor.readUInt8(), cursor.skip(3), let port = cursor.readUInt16()
                    else { return nil }
                    let left = element.expiration ?? PolicyTable.deniedTimeout
                    return DeniedFlow(
                        profile: profile, client: client, server: server, transport: transport, port: Port(port),
                        age: PolicyTable.deniedTimeout - min(left, PolicyTable.deniedTimeout))
                }
                if let flow { flows.append(flow) }
            }
        }
        return flows
    }

    /// What the rules have counted.
    static func verdicts(_ table: PolicyTable, through connection: NFTablesConnection) throws(NetlinkError)
        -> [PolicyVerdictCount]
    {
        let rules = try connection.rules(in: table.name)
        func packets(_ rule: NFRule) -> UInt64 {
            for case .counter(let packets, _) in rule.expressions { return packets }
            return 0
        }
        return [IPAddress.Family.v4, .v6].flatMap { family in
            NetworkPolicySpec.Direction.allCases.map { direction in
                var (judged, denied): (UInt64, UInt64) = (0, 0)
                for half in PolicyTable.Half.all where half.family == family && half.direction == direction {
                    for rule in rules where rule.chain.name == half.gate {
                        if case .verdict(.jump(half.chain)) = rule.expressions.last { judged += packets(rule) }
                    }
                    denied += rules.last { $0.chain.name == half.chain }.map(packets) ?? 0
                }
                return PolicyVerdictCount(
                    direction: direction, family: family == .v4 ? "IPv4" : "IPv6",
                    allowed: judged - min(denied, judged), denied: denied)
            }
        }
    }
}

/// What a node's kernel tells of its policies, to whoever is on that node.
public struct PolicyKernelReport: Sendable {
    public var verdicts: [PolicyVerdictCount]
    /// The latest first.
    public var denied: [DeniedFlow]

    /// nil where there is no such table.
    ///
    /// - Parameter namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    public init?(namespace: CInt?, tableName: String = "weft-policy") throws {
        let connection = try NFTablesConnection(namespace: namespace)
        let table = PolicyTable(tableName)
        guard try connection.table(table.name) != nil else { return nil }
        verdicts = try KernelPolicies.verdicts(table, through: connection)
        denied = try KernelPolicies.denied(table, through: connection).sorted { $0.age < $1.age }
    }
}
