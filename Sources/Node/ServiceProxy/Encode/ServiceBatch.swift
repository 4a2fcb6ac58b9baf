import Delta
import Netlink

extension ServiceElementCodec {
    /// The element operations that carry out `changes`: removals first, then additions, set by set, so that each set's fit
    /// into few messages. A changed value is a removal and an addition; in one batch no packet sees the gap.
    func append(_ changes: [DesiredServices.Tracker.Change], in table: NFTableName, to batch: inout NFBatch) {
        var removals = [[ServiceElementKey]](repeating: [], count: ServiceSet.allCases.count)
        var additions = [[(ServiceElementKey, ServiceElementValue)]](
            repeating: [], count: ServiceSet.allCases.count)
        for change in changes {
            let set = Self.set(of: change.key).rawValue
            switch change {
            case .add(let key, let value): additions[set].append((key, value))
            case .remove(let key, _): removals[set].append(key)
            case .replace(let key, _, let value):
                removals[set].append(key)
                additions[set].append((key, value))
            }
        }
        var (key, data): ([UInt8], [UInt8]) = ([], [])
        for set in ServiceSet.allCases {
            let name = set.name(in: table)
            for element in removals[set.rawValue] {
                key.removeAll(keepingCapacity: true)
                encode(element, into: &key)
                key.withUnsafeBytes { batch.element(.delete, key: $0, in: name) }
            }
        }
        for set in ServiceSet.allCases {
            let name = set.name(in: table)
            for (element, value) in additions[set.rawValue] {
                key.removeAll(keepingCapacity: true)
                data.removeAll(keepingCapacity: true)
                encode(element, into: &key)
                encode(value, into: &data)
                key.withUnsafeBytes { key in
                    data.withUnsafeBytes { batch.element(.add, key: key, data: $0.isEmpty ? nil : $0, in: name) }
                }
            }
        }
    }
}
