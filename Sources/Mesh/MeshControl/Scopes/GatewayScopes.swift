import Bytes
import ClusterAPI
import ClusterClient
import Discovery
import GRPC
import Reactor
import Telemetry
import XDS

/// What each Gateway's proxies see, and what they think of it. Of the control plane's loop.
final class GatewayScopes {
    /// Of one Gateway: what its proxies alone see.
    struct Scopes {
        let resources: ServedScope
        /// Private keys: for those alone that have proven that they are this Gateway's.
        let secrets: ServedScope
    }

    private var scopes: [ObjectKey: Scopes] = [:]
    /// By the account that a Gateway's proxies have.
    private var accounts: [ObjectKey: ObjectKey] = [:]
    private(set) var refusals = ProxyRefusals()
    private let server: DiscoveryServer

    init(_ server: DiscoveryServer) { self.server = server }

    /// Of the proxies with this account; nil where no Gateway of ours has it.
    func scopes(ofAccount account: ObjectKey) -> Scopes? { accounts[account].flatMap { scopes[$0] } }

    func scopes(of gateway: ObjectKey) -> Scopes? { scopes[gateway] }

    /// What has to be published where.
    func take(_ changes: GatewayModel.Changes, _ model: MeshModel) -> [(changes: [ServedChange], scope: ServedScope)] {
        var batches: [(changes: [ServedChange], scope: ServedScope)] = []
        for (key, changes) in changes.gateways {
            let scopes =
                self.scopes[key]
                ?? Scopes(resources: ServedScope("gateway \(key)"), secrets: ServedScope("secrets of gateway \(key)"))
            self.scopes[key] = scopes
            if let gateway = model.gateways.states[key]?.gateway { accounts[gateway.workload] = key }
            batches.append((changes.filter { $0.kind == .secret }, scopes.secrets))
            batches.append((changes.filter { $0.kind != .secret }, scopes.resources))
        }
        for key in changes.gone {
            scopes[key] = nil
            for (account, gateway) in accounts where gateway == key { accounts[account] = nil }
        }
        return batches
    }

    /// Takes down what proxies have refused, and what they refuse no more.
    ///
    /// - Returns: Whose status that is a matter of.
    func note(_ model: MeshModel) -> Set<StatusTarget> {
        var found = ProxyRefusals()
        // In the order of their names, so that one that comes to the same end changes no status that is written.
        for status in server.status().filter({ !$0.refusals.isEmpty }).sorted(by: { $0.node.id < $1.node.id }) {
            func words(_ kind: ResourceKind, _ reason: String) -> String {
                "\(status.node.id) refuses \(kind.service): \(reason)"
            }
            if let gateway = gateway(of: status.node) {
                let all = status.refusals.sorted { $0.key.rawValue < $1.key.rawValue }.map { words($0, $1) }
                Self.add(all.joined(separator: "; "), to: &found.gateways[gateway])
            } else {
                for (table, reason) in status.refused[.routeConfiguration] ?? [:] {
                    Self.add(words(.routeConfiguration, reason), to: &found.tables[table])
                }
            }
        }
        defer { refusals = found }
        var targets: Set<StatusTarget> = []
        for key in Set(found.gateways.keys).union(refusals.gateways.keys)
        where found.gateways[key] != refusals.gateways[key] {
            targets.insert(.gateway(key))
            for route in model.gateways.states[key]?.bindings.keys.map({ $0 }) ?? [] { targets.insert(.route(route)) }
        }
        for table in Set(found.tables.keys).union(refusals.tables.keys)
        where found.tables[table] != refusals.tables[table] {
            for route in model.routes(of: table) { targets.insert(.route(route)) }
        }
        return targets
    }

    private static let others = " (and others)"

    private static func add(_ words: String, to known: inout String?) {
        guard let first = known else {
            known = words
            return
        }
        if !first.hasSuffix(others) { known = first + others }
    }

    /// Whose proxy it is, by what it says of itself.
    func gateway(of node: ProxyNode) -> ObjectKey? {
        guard node.id.hasPrefix("router~") else { return nil }
        // `--service-cluster ACCOUNT.NAMESPACE`
        guard let dot = node.cluster.lastIndex(of: ".") else { return nil }
        let namespace = String(node.cluster[node.cluster.index(after: dot)...])
        return accounts[ObjectKey(namespace: namespace, name: String(node.cluster[..<dot]))]
    }
}

extension MeshModel {
    func routes(of table: String) -> Set<RouteKey> {
        for (key, routes) in world.bound {
            for port in world.services[key]?.ports ?? [] where "\(world.host(key)):\(port.number)" == table {
                return routes
            }
        }
        return []
    }
}
