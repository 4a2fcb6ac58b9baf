import Bytes
import JSON

/// How hosts are divided by their metadata, and what happens to a request that asks for a division that is not there.
struct SubsetConfig: Sendable, Hashable {
    enum Fallback: Hashable, Sendable {
        case noFallback, anyEndpoint, defaultSubset
    }

    struct Selector: Hashable, Sendable {
        enum Fallback: Hashable, Sendable {
            /// The cluster's own.
            case notDefined
            case noFallback, anyEndpoint, defaultSubset
            /// Asks again with these of its keys only.
            case keysSubset([String])
        }

        /// Ascending, each once.
        let keys: [String]
        var fallback: Fallback
        var singleHostPerSubset: Bool

        init(_ keys: [String], fallback: Fallback = .notDefined, singleHostPerSubset: Bool = false) {
            self.keys = Set(keys).sorted()
            self.fallback = fallback
            self.singleHostPerSubset = singleHostPerSubset
        }
    }

    var fallback = Fallback.noFallback
    var defaultSubset = JSONObject()
    var selectors: [Selector] = []
    /// Locality weights count in subsets too, and are scaled by how much of a locality is in the subset.
    var localityWeightAware = false
    var scaleLocalityWeight = false
    /// When the fallback finds no host, any host will do.
    var panicModeAny = false
    /// A list in a host's metadata stands for each of its elements.
    var listAsAny = false
    /// A request may ask for more keys than a selector has.
    var allowRedundantKeys = false
    /// A request's own list of alternatives is tried in order (`metadata_fallback_policy: FALLBACK_LIST`).
    var usesFallbackList = false

    static let fallbackListKey = "fallback_list"

    func validate() throws(BalanceConfigError) {
        for selector in selectors {
            guard !selector.keys.isEmpty else { throw BalanceConfigError("subset_selectors: keys must not be empty") }
            guard case .keysSubset(let keys) = selector.fallback else { continue }
            guard !keys.isEmpty else {
                throw BalanceConfigError("subset_selectors \(selector.keys): KEYS_SUBSET needs fallback_keys_subset")
            }
            guard Set(keys).isStrictSubset(of: selector.keys) else {
                throw BalanceConfigError(
                    "subset_selectors \(selector.keys): fallback_keys_subset \(keys) must be fewer of its keys")
            }
        }
    }
}

/// Stands for some keys with their values: equal keys and values, equal `SubsetKey`.
struct SubsetKey: Hashable, Sendable, BitwiseCopyable {
    var high: UInt64
    var low: UInt64

    /// Pairs in ascending order of keys.
    init(_ pairs: some Sequence<(key: String, value: JSONValue)>) {
        var bytes: [UInt8] = []
        for (key, value) in pairs {
            for text in [key, value.encodedString()] {
                bytes.append(contentsOf: text.utf8)
                // No text of JSON has a zero byte, nor is a key with one worth telling apart.
                bytes.append(0)
            }
        }
        high = bytes.withUnsafeBytes { XXHash64.hash($0, seed: 0x7375_6273) }
        low = bytes.withUnsafeBytes { XXHash64.hash($0) }
    }

    init(_ criteria: JSONObject) { self.init(criteria.map { (key: $0.key, value: $0.value) }) }
}

/// What a request asks for, worked out before it comes: which subsets to look for, in order, and what if none is there.
/// Depends on the cluster's configuration only, so that a route makes it once; requests read it through `view`.
final class SubsetQuery: Sendable {
    enum Otherwise: UInt8, Sendable, BitwiseCopyable {
        case nothing, anyHost, defaultSubset
        /// The cluster's fallback, and its panic mode after it.
        case clusterFallback
    }

    struct Plan: Hashable, Sendable {
        var keys: [SubsetKey]
        var otherwise: Otherwise
    }

    struct Step: Sendable, BitwiseCopyable {
        var firstKey: UInt32
        var keyCount: UInt32
        var otherwise: Otherwise
    }

    /// Good as long as its query lives; trivial to copy, so that requests of many workers share a route's query without a
    /// reference count between them.
    struct View: Sendable, BitwiseCopyable {
        nonisolated(unsafe) var keys: UnsafePointer<SubsetKey>
        nonisolated(unsafe) var steps: UnsafePointer<Step>
        var stepCount: Int
    }

    /// Tried in order until one finds a host.
    let plans: [Plan]
    let view: View
    private let keys: Flat<SubsetKey>
    private let steps: Flat<Step>

    init(_ plans: [Plan]) {
        self.plans = plans
        var first: UInt32 = 0
        steps = Flat(
            plans.map { plan in
                defer { first += UInt32(plan.keys.count) }
                return Step(firstKey: first, keyCount: UInt32(plan.keys.count), otherwise: plan.otherwise)
            })
        keys = Flat(plans.flatMap(\.keys))
        view = View(keys: keys.pointer, steps: steps.pointer, stepCount: steps.count)
    }
}

extension SubsetConfig {
    /// The query of a request with these criteria (a route's `metadata_match` under `envoy.lb`).
    func query(_ criteria: JSONObject) -> SubsetQuery {
        guard usesFallbackList, let alternatives = criteria[Self.fallbackListKey]?.array else {
            return SubsetQuery([plan(criteria)])
        }
        var common = criteria
        common[Self.fallbackListKey] = nil
        if alternatives.isEmpty { return SubsetQuery([plan(common)]) }
        return SubsetQuery(
            alternatives.map { alternative in
                var merged = common
                for member in alternative.object ?? JSONObject() { merged[member.key] = member.value }
                return plan(merged)
            })
    }

    private func plan(_ criteria: JSONObject) -> SubsetQuery.Plan {
        var keys: [SubsetKey] = []
        var criteria = criteria
        // Each round asks for fewer keys than the one before (`validate`), so that it ends.
        while !criteria.isEmpty {
            if allowRedundantKeys, let selector = selectors.first(where: { $0.keys.allSatisfy { criteria[$0] != nil } })
            {
                criteria = criteria.keeping(selector.keys)
            }
            keys.append(SubsetKey(criteria))
            guard let selector = selectors.first(where: { $0.keys == criteria.keys }) else { break }
            switch selector.fallback {
            case .notDefined: return SubsetQuery.Plan(keys: keys, otherwise: .clusterFallback)
            case .noFallback: return SubsetQuery.Plan(keys: keys, otherwise: .nothing)
            case .anyEndpoint: return SubsetQuery.Plan(keys: keys, otherwise: .anyHost)
            case .defaultSubset: return SubsetQuery.Plan(keys: keys, otherwise: .defaultSubset)
            case .keysSubset(let fewer):
                let reduced = criteria.keeping(fewer)
                guard reduced.count < criteria.count else {
                    return SubsetQuery.Plan(keys: keys, otherwise: .clusterFallback)
                }
                criteria = reduced
            }
        }
        return SubsetQuery.Plan(keys: keys, otherwise: .clusterFallback)
    }

    /// The values of a host for a selector's keys, each combination that it stands for; empty when it lacks a key.
    func keys(of metadata: JSONObject, _ selector: Selector) -> [SubsetKey] {
        var combinations: [[(key: String, value: JSONValue)]] = [[]]
        for key in selector.keys {
            guard let value = metadata[key] else { return [] }
            let values = listAsAny ? value.array ?? [value] : [value]
            combinations = combinations.flatMap { pairs in values.map { pairs + [(key: key, value: $0)] } }
        }
        return combinations.map { SubsetKey($0) }
    }

    /// Whether a host is in the default subset.
    func isInDefaultSubset(_ metadata: JSONObject?) -> Bool {
        defaultSubset.allSatisfy { member in
            guard let value = metadata?[member.key] else { return false }
            return value == member.value || listAsAny && (value.array?.contains(member.value) ?? false)
        }
    }
}

extension JSONObject {
    fileprivate func keeping(_ keys: [String]) -> JSONObject {
        JSONObject(keys.compactMap { key in self[key].map { (key: key, value: $0) } })
    }
}

/// Finds a subset's section by its key: open addressing in flat memory.
struct SubsetTable: Sendable, BitwiseCopyable {
    struct Slot: Sendable, BitwiseCopyable {
        var key: SubsetKey
        var section: UInt32
    }

    // Belongs to the host set's `Flat`.
    nonisolated(unsafe) var slots: UnsafePointer<Slot>
    /// A power of two less one; at least half of the slots are free.
    var mask: Int

    static func layOut(_ sections: [(key: SubsetKey, section: UInt32)]) -> [Slot] {
        var capacity = 2
        while capacity < 2 * sections.count + 1 { capacity *= 2 }
        let free = Slot(key: SubsetKey(JSONObject()), section: .none)
        var slots = Array(repeating: free, count: capacity)
        for entry in sections {
            var at = Int(truncatingIfNeeded: entry.key.low) & (capacity - 1)
            while slots[at].section != .none { at = (at + 1) & (capacity - 1) }
            slots[at] = Slot(key: entry.key, section: entry.section)
        }
        return slots
    }

    @inline(__always)
    func section(_ key: SubsetKey) -> UInt32 {
        var at = Int(truncatingIfNeeded: key.low) & mask
        while slots[at].section != .none {
            if slots[at].key == key { return slots[at].section }
            at = (at &+ 1) & mask
        }
        return .none
    }
}
