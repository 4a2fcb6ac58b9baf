import Bytes

/// A list of hosts that a pick may be made from, in one `HostSet`: of one priority all, the healthy or the degraded ones, of
/// all localities or of one. Or, where localities are weighted, a list of localities.
struct HostGroup: Sendable, BitwiseCopyable {
    /// Where its members are in the set's `members`.
    var start: UInt32
    var count: UInt32
    /// Then a plain rotation does.
    var hasEqualWeights: Bool
    /// Names the group in all snapshots.
    var key: UInt64
    /// Stands for the members' names and weights: the same contents have the same rotation.
    var contents: UInt64
}

/// What a group's key is made of.
enum HostGroupKind: UInt64 {
    case all, healthy, degraded, localHealthy, localDegraded, healthyLocalities, degradedLocalities
}

/// Mixes numbers into one that stands for them. Against chance, not against an attacker: hosts are named by discovery.
struct Fingerprint {
    private(set) var value: UInt64

    init(_ value: UInt64 = 0x9E37_79B9_7F4A_7C15) { self.value = value }

    @inline(__always)
    mutating func combine(_ number: UInt64) {
        var mixed = (value ^ number) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        value = mixed ^ mixed >> 31
    }

    mutating func combine(_ text: String) { combine(XXHash64.hash(text)) }
}

/// One priority of one section, as picking sees it.
struct PriorityLevel: Sendable, BitwiseCopyable {
    /// In percent.
    var healthyLoad: UInt32 = 0
    var degradedLoad: UInt32 = 0
    /// All hosts are used, whatever their health.
    var isInPanic = false
    // Numbers of groups.
    var all: UInt32 = 0
    var healthy: UInt32 = 0
    var degraded: UInt32 = 0
    /// The healthy group of its first locality; the degraded one of the same locality is next, then the next locality's.
    /// `none` where localities do not matter.
    var localities: UInt32 = .none
    /// Groups of localities in the order of their groups, for weighted localities; `none` where none has a weight.
    var healthyLocalities: UInt32 = .none
    var degradedLocalities: UInt32 = .none
    var zone = ZoneRouting.off
    /// Number of the hashed level; `none` for policies that do not hash.
    var hashed: UInt32 = .none
}

extension UInt32 {
    /// No such number.
    static let none = UInt32.max
}

/// The hosts of one priority behind a hash table.
struct HashedLevel: Sendable, BitwiseCopyable {
    var table: HashView
    /// Where the table's targets are in the set's `members`, and their weights in its `shares`.
    var start: UInt32
    var weights: UInt32
    var count: UInt32
}

/// Hosts that are balanced over as if they were a cluster: all of it, or one subset.
struct HostSection: Sendable, BitwiseCopyable {
    var firstLevel: UInt32
    var levelCount: UInt32
    var hostCount: UInt32
    /// The group that every pick is made from, where priority, panic and locality need not be asked: nearly always. Or `none`.
    var direct: UInt32
    /// The only host there may be (`single_host_per_subset`), or `none`.
    var single: UInt32
    /// Nanoseconds on the monotonic clock: no host is in slow start when this is a window ago.
    var newestHealthySince: UInt64
}
