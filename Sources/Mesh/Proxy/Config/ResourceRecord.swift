import Bytes
import XDS

/// When each resource came and how many came and went, for statistics and the admin pages.
struct ResourceRecord: Sendable {
    struct Entry: Sendable {
        var isStatic: Bool
        var updated: Timestamp
    }

    struct Changes: Sendable {
        var added: UInt64 = 0
        var modified: UInt64 = 0
        var removed: UInt64 = 0
        var refused: UInt64 = 0
    }

    private var entries: [ResourceKind: [String: Entry]] = [:]
    private var changes: [ResourceKind: Changes] = [:]

    subscript(kind: ResourceKind) -> Changes { changes[kind] ?? Changes() }
    subscript(kind: ResourceKind, name: String) -> Entry? { entries[kind]?[name] }

    mutating func note(_ update: ResourceUpdate, isStatic: Bool = false, at time: Timestamp = .now()) {
        let kind = update.kind
        changes[kind, default: Changes()].added += UInt64(update.added.count)
        changes[kind, default: Changes()].modified += UInt64(update.updated.count)
        changes[kind, default: Changes()].removed += UInt64(update.removed.count)
        for resource in update.added + update.updated {
            entries[kind, default: [:]][resource.name] = Entry(isStatic: isStatic, updated: time)
        }
        for name in update.removed { entries[kind]?[name] = nil }
    }

    mutating func noteRefused(_ kind: ResourceKind) { changes[kind, default: Changes()].refused += 1 }
}
