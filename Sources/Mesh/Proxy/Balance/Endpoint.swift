import Bytes
import JSON

/// Where an endpoint is: what zone-aware and locality-weighted balancing group by.
struct Locality: Hashable, Comparable, Sendable {
    var region = ""
    var zone = ""
    var subZone = ""

    static func < (a: Self, b: Self) -> Bool { (a.region, a.zone, a.subZone) < (b.region, b.zone, b.subZone) }
}

/// One endpoint as discovery names it.
struct Endpoint: Sendable {
    var address: SocketAddress
    var hostname = ""
    /// At least 1.
    var weight: UInt32 = 1
    /// Discovery's own opinion: only the flags of `HostHealth.fromDiscovery`.
    var health: HostHealth = []
    var metadata: HostMetadata?
    var marks: HostMarks = []

    init(
        _ address: SocketAddress, hostname: String = "", weight: UInt32 = 1, health: HostHealth = [],
        metadata: HostMetadata? = nil, marks: HostMarks = []
    ) {
        self.address = address
        self.hostname = hostname
        self.weight = max(weight, 1)
        self.health = health.intersection(.fromDiscovery)
        self.metadata = metadata
        self.marks = marks
    }
}

/// What discovery says about an endpoint beyond its address. Shared by all snapshots.
final class HostMetadata: Sendable {
    /// Under `envoy.lb`.
    let balancing: JSONObject
    /// Under `envoy.transport_socket_match`: which of its cluster's transport sockets the host is spoken to with.
    let transport: JSONObject
    /// Stands for the address in ring hash and Maglev when it is there: `hash_key`.
    let hashKey: String?
    /// Under `istio`: whose pod it is, `WORKLOAD;NAMESPACE;APP;VERSION;CLUSTER`; empty where nobody says.
    let workload: String
    /// Where it is probed; nil for where it serves.
    let health: HealthTarget?

    init(
        _ balancing: JSONObject, transport: JSONObject = JSONObject(), workload: String = "",
        health: HealthTarget? = nil
    ) {
        self.health = health
        self.balancing = balancing
        self.transport = transport
        self.workload = workload
        hashKey = balancing["hash_key"]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// All that `other` says under `envoy.lb`; where this has a list, one of its elements is enough.
    func has(_ other: HostMetadata) -> Bool {
        other.balancing.allSatisfy { member in
            switch balancing[member.key] {
            case .array(let elements)?: elements.contains(member.value) || .array(elements) == member.value
            case let value: value == member.value
            }
        }
    }

    /// What is said under a filter's name, as far as it is kept.
    func of(_ filter: String) -> JSONObject? {
        switch filter {
        case "envoy.lb": balancing
        case "envoy.transport_socket_match": transport
        default: nil
        }
    }
}

/// The endpoints of one locality at one priority.
struct LocalityEndpoints: Sendable {
    var locality = Locality()
    /// 0 is preferred.
    var priority = 0
    /// The locality's share where localities are weighted; nil takes none.
    var weight: UInt32?
    var endpoints: [Endpoint]
}

/// Everything that discovery says about one cluster (`ClusterLoadAssignment`), whichever way it came.
struct EndpointAssignment: Sendable {
    var localities: [LocalityEndpoints]
    /// In percent: how much more than its share of the hosts a priority is trusted with before load spills over.
    var overprovisioningFactor: UInt32 = 140
    /// A priority's health counts its hosts' weights instead of its hosts.
    var weightedPriorityHealth = false

    init(_ localities: [LocalityEndpoints], overprovisioningFactor: UInt32 = 140, weightedPriorityHealth: Bool = false)
    {
        self.localities = localities
        self.overprovisioningFactor = overprovisioningFactor
        self.weightedPriorityHealth = weightedPriorityHealth
    }
}
