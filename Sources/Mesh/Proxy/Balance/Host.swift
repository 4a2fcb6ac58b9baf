import Bytes
import Reactor

/// A host's name for as long as it is in its cluster, whichever snapshots come and go: a small number that a worker's own
/// tables are indexed by, and a generation that tells it from the one that had the number before.
struct HostID: Hashable, Sendable, BitwiseCopyable {
    var slot: UInt32
    var generation: UInt32
}

/// A host's place in one `HostSet`; means nothing in another.
struct HostIndex: Hashable, Sendable, BitwiseCopyable {
    var rawValue: UInt32

    init(_ rawValue: UInt32) { self.rawValue = rawValue }
}

/// What a retry may want to avoid in a host, as bits that the cluster's configuration hands out.
struct HostMarks: OptionSet, Hashable, Sendable, BitwiseCopyable {
    let rawValue: UInt16

    init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `envoy.lb: {canary: true}`, for the retry predicate `omit_canary_hosts`.
    static let canary = HostMarks(rawValue: 1)

    /// A bit for the `number`th set of metadata that some route omits (`omit_host_metadata`), 0…14.
    static func metadata(_ number: Int) -> HostMarks { HostMarks(rawValue: 2 << UInt16(number)) }
}

/// One host of a cluster, in full: for pools, logs and admin pages. Picking looks at `HostFacts` only.
struct Host: Sendable {
    var id: HostID
    var address: SocketAddress
    var hostname: String
    var weight: UInt32
    var health: HostHealth
    /// Which of the set's places it is in.
    var place: UInt32
    var marks: HostMarks
    var metadata: HostMetadata?
    /// Since when it takes requests, for slow start: when it joined, or passed a check again after it failed.
    var healthySince: MonotonicTime

    /// What ring hash and Maglev place it by.
    func hashKey(byHostname: Bool) -> String {
        if let key = metadata?.hashKey { return key }
        if byHostname, !hostname.isEmpty { return hostname }
        return switch address {
        case .unix(let path): path
        case .abstract(let name): "@" + name
        default: address.description
        }
    }
}

/// What picking looks at in a host: flat memory without references.
struct HostFacts: Sendable, BitwiseCopyable {
    var id: HostID
    var weight: UInt32
    var health: HostHealth
    var marks: HostMarks
    /// Nanoseconds on the monotonic clock.
    var healthySince: UInt64
}

/// A priority and locality that hosts are in.
struct HostPlace: Hashable, Sendable {
    var locality: Locality
    var priority: Int
    var weight: UInt32?

    /// Those of the many clusters that say nothing of localities.
    static let only = [HostPlace(locality: Locality(), priority: 0, weight: nil)]
}
