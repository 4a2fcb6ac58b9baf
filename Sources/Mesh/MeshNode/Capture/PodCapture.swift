import Bytes
import Glibc
import MeshAPI
import Netlink

/// Puts a pod's connections under its sidecar, in the pod's own network namespace, from outside: the pod needs no rights for it.
public enum PodCapture {
    /// In force when this returns. Again for the same pod changes nothing that matters: connections that are open stay.
    ///
    /// - Parameters:
    ///   - namespace: path of the pod's network namespace.
    ///   - hasIPv6: whether the pod has an IPv6 address.
    public static func install(_ plan: CapturePlan, namespace path: String, hasIPv6: Bool) throws {
        let namespace = try NamespaceHandle.open(path)
        try NFTablesConnection(namespace: namespace.descriptor).commit(CaptureTable(plan).batch)
        guard plan.isOn else { return }
        var wanted: [NetlinkRequest] = []
        if plan.keepsClients { wanted += marks(hasIPv6 ? [.v4, .v6] : [.v4]) }
        // 127.0.0.6 is everybody's; its counterpart has to be given.
        if hasIPv6 {
            wanted.append(
                .add(
                    InterfaceAddress(
                        device: loopback, address: CIDR(host: CaptureTable.selfV6), scope: .host,
                        flags: .noDuplicateDetection)))
        }
        guard !wanted.isEmpty else { return }
        let routes = try RouteConnection(namespace: namespace.descriptor)
        for request in wanted {
            do throws(NetlinkError) { try routes.perform([request]) } catch {
                guard error.errno == EEXIST else { throw error }
            }
        }
    }

    private static let loopback = InterfaceIndex(1)

    /// Packets that bear the mark are this namespace's, whatever their destination: `ip rule add fwmark 1337 lookup 133` and
    /// `ip route add local default dev lo table 133`.
    private static func marks(_ families: [IPAddress.Family]) -> [NetlinkRequest] {
        let table = RouteTable(rawValue: MeshMark.table)
        var requests: [NetlinkRequest] = []
        for family in families {
            guard let all = CIDR(family == .v4 ? .anyV4 : .anyV6, prefixLength: 0) else { continue }
            requests.append(
                .add(Route(destination: all, device: loopback, table: table, scope: .host, type: .local)))
            requests.append(
                .add(
                    RoutingRule(family: family, priority: MeshMark.table, mark: MeshMark.transparent, table: table)))
        }
        return requests
    }
}
