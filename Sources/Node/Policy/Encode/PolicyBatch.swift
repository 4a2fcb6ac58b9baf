import Bytes
import Delta
import Netlink

/// Carries changes into a batch: removals first, then additions, set by set, so that each set's fit into few messages. A changed
/// value is a removal and an addition; in one batch no packet sees the gap.
struct PolicyBatch {
    typealias Change = DeltaTracker<PolicyElementKey, PolicyElementValue>.Change

    private(set) var batch = NFBatch()
    private let table: NFTableName
    private var key: [UInt8] = []
    private var data: [UInt8] = []

    init(_ changes: [Change], in table: NFTableName) {
        self.table = table
        // A way that is remembered was judged by what was before the mark.
        if changes.contains(where: \.putsMarkInForce) {
            for family in [IPAddress.Family.v4, .v6] { batch.flush(NFSetName(table, PolicyTable.passedName(family))) }
        }
        let bySet = Dictionary(grouping: changes) { PolicyElementCodec.set(of: $0.key) }
        for set in PolicySet.allCases {
            for change in bySet[set] ?? [] {
                switch change {
                case .add: break
                case .remove(let key, _), .replace(let key, _, _): put(.delete, key, nil, set)
                }
            }
        }
        for set in PolicySet.allCases {
            for change in bySet[set] ?? [] {
                switch change {
                case .remove: break
                case .add(let key, let value), .replace(let key, _, let value): put(.add, key, value, set)
                }
            }
        }
    }

    private mutating func put(
        _ verb: NFBatch.Verb, _ element: PolicyElementKey, _ value: PolicyElementValue?, _ set: PolicySet
    ) {
        let name = set.name(in: table)
        guard !set.isOfRanges else {
            // Few, and written as values.
            batch.element(verb, PolicyElementCodec.element(element, value ?? .present), in: name)
            return
        }
        key.removeAll(keepingCapacity: true)
        data.removeAll(keepingCapacity: true)
        PolicyElementCodec.encode(element, into: &key)
        if let value { PolicyElementCodec.encode(value, into: &data) }
        key.withUnsafeBytes { key in
            data.withUnsafeBytes { batch.element(verb, key: key, data: $0.isEmpty ? nil : $0, in: name) }
        }
    }
}
