import Bytes
import NodeTables

/// The part of a Service that one packet can meet: one address, or any of the node's, with protocol and port.
struct Frontend: Hashable, Sendable {
    /// nil: any node port address.
    var address: IPAddress?
    var transport: Transport
    var port: Port
}

extension Frontend: CustomStringConvertible {
    /// `192.0.2.1 TCP 443`, `node port TCP 30080`.
    var description: String { "\(address.map { "\($0)" } ?? "node port") \(transport) \(port)" }
}

/// What becomes of a packet that meets a frontend.
enum Verdict: Hashable, Sendable {
    case dispatch(ListKind, Masquerade)
    /// Nothing could serve it anywhere.
    case reject
    /// Endpoints exist, but the policy wants local ones and there are none.
    case drop
}

/// Which of a service port's two endpoint lists.
enum ListKind: Hashable, Sendable { case cluster, local }

/// When a packet's source must become this node's, so that the answer comes back through it.
enum Masquerade: Hashable, Sendable {
    case never
    case unlessFromPod
    case always
}

/// What one port of a Service means on this node: the endpoint lists that are in use, and its frontends.
struct PortPlan: Equatable, Sendable {
    var name: String
    var transport: Transport
    /// Not empty where a frontend dispatches to it.
    var lists: [ListKind: [Endpoint]] = [:]
    /// Of endpoints of the lists, where they are not 1.
    var weights: [Endpoint: UInt8] = [:]
    /// For how long clients keep their endpoint; nil: they get one for each connection.
    var affinity: SessionAffinity?
    var balancing = Balancing.random
    /// For packets from this node and its pods, and where nothing else is said, for all.
    var frontends: [Frontend: Verdict] = [:]
    /// For packets from outside of the node, where it differs.
    var external: [Frontend: Verdict] = [:]
    /// Frontends among these that only `admitted` sources may use; what others send there is dropped.
    var restricted: Set<Frontend> = []
    /// Disjoint and sorted.
    var admitted: [AddressRange] = []
    /// UDP flows to other endpoints than these are stale.
    var serving: Set<Endpoint> = []
}

/// What a Service means on this node, for one address family.
struct ServicePlan: Equatable, Sendable {
    var ports: [PortPlan] = []
    /// Seconds since 1970, of the Service.
    var created: Int64 = 0
    /// Addresses on which ports that no Service has are refused.
    var clusterIPs: [IPAddress] = []
    /// Addresses of local endpoints: packets to themselves need another source.
    var hairpins: Set<IPAddress> = []
}
