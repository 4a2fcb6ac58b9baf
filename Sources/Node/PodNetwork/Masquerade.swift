import Bytes
import Netlink
import Reactor

/// What pods send out of the cluster leaves under the node's address: the world has no way back to a pod.
///
/// One table of our own, one chain, and a rule for each prefix of pods: what comes from it and goes neither to it nor to a group is
/// masqueraded. A foreign `nft flush ruleset` is noticed and mended at once.
final class Masquerade {
    static let table = NFTableName(.inet, "weft-pod-network")
    private static let chain = NFChainName(table, "postrouting")

    private let clusterPrefixes: [CIDR]
    private let connection: NFTablesConnection
    private var monitor: NetlinkMonitor?

    /// Sets the rules, and keeps them until `close`. On the loop. `report` hears of what could not be mended.
    init(clusterPrefixes: [CIDR], on loop: EventLoop, report: @escaping (any Error) -> Void) throws {
        self.clusterPrefixes = clusterPrefixes
        connection = try NFTablesConnection()
        let changes = try NFTablesConnection.subscribe()
        try ensure()
        monitor = try NetlinkMonitor(changes, on: loop) { [unowned self] notification in
            if concerns(notification) { do { try ensure() } catch { report(error) } }
        } onFailure: {
            report($0)
        }
    }

    /// Whether somebody may have touched our table.
    private func concerns(_ notification: NetlinkNotification) -> Bool {
        guard case .message(let message) = notification else { return true }
        return switch NFTablesEvent(message) {
        case .tableGone(let table): table.id == Self.table
        case .chainGone(let chain): chain.id == Self.chain
        case .rule(let rule), .ruleGone(let rule): rule.chain == Self.chain
        default: false
        }
    }

    /// The rules as they must stand, in order.
    static func rules(_ clusterPrefixes: [CIDR]) -> [NFRule] {
        clusterPrefixes.flatMap { prefix -> [NFRule] in
            let isV4 = prefix.address.family == .v4
            let family: NFExpression = .meta(.family, into: 0)
            // NFPROTO_IPV4 and NFPROTO_IPV6.
            let ofFamily: NFExpression = .compare(0, .equal, [isV4 ? 2 : 10])
            let multicast: CIDR? = CIDR(isV4 ? "224.0.0.0/4" : "ff00::/8")
            let source: NFExpression.Payload = isV4 ? .ipv4Source : .ipv6Source
            let destination: NFExpression.Payload = isV4 ? .ipv4Destination : .ipv6Destination
            var expressions: [NFExpression] = [family, ofFamily]
            expressions += NFExpression.match(source, .equal, prefix)
            expressions += NFExpression.match(destination, .notEqual, prefix)
            if let multicast { expressions += NFExpression.match(destination, .notEqual, multicast) }
            expressions.append(.masquerade(.fullyRandom))
            return [NFRule(chain, expressions, comment: "pods of \(prefix) to the world")]
        }
    }

    /// Makes the table say what it must, and touches nothing when it does.
    private func ensure() throws {
        let wanted = Self.rules(clusterPrefixes)
        if try connection.table(Self.table) != nil {
            let standing = try connection.rules(in: Self.table)
            if standing.count == wanted.count, zip(standing, wanted).allSatisfy({ $0.isSameWork(as: $1) }) { return }
        }
        var batch = NFBatch()
        batch.add(NFTable(Self.table))
        batch.add(
            NFChain(
                Self.chain,
                base: NFChain.Base(.nat, .postrouting, priority: NFChain.Base.sourceNAT)))
        batch.flush(Self.chain)
        for rule in wanted { batch.append(rule) }
        try connection.commit(batch)
    }

    /// Stops watching. The rules stay: pods go on talking.
    func close() {
        monitor?.close()
        monitor = nil
    }
}
