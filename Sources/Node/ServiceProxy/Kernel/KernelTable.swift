import Bytes
import Netlink
import NodeTables

/// The table as the kernel has it: adopts or makes the shape, reads the elements, and commits batches.
///
/// Belongs to one thread, or loop, at a time.
final class KernelTable {
    let shape: ServiceTable
    private let codec: ServiceElementCodec
    private let connection: NFTablesConnection
    /// Nobody else may write to the table while we live, and it stays when we go (Linux 6.9).
    private(set) var isOwner: Bool

    private var hasRead = false

    /// Who we are in notifications.
    var portID: UInt32 { connection.portID }

    init(_ shape: ServiceTable, owning: Bool, namespace: CInt?) throws(NetlinkError) {
        self.shape = shape
        codec = ServiceElementCodec(family: shape.name.family == .ip ? .v4 : .v6)
        connection = try NFTablesConnection(namespace: namespace)
        isOwner = owning
    }

    /// Makes the table's fixed part what it should be. Elements of a table with the right sets stay, whatever the rest
    /// was: changed rules are exchanged around them, in one transaction.
    func prepare() throws -> TableAdoption {
        let stickies = try presentStickies()
        let whole = TableShape(
            table: shape.table, sets: shape.sets, chains: shape.chains + stickies.map { shape.chain($0.1) },
            rules: shape.rules + stickies.flatMap { shape.rules($0.1) },
            fixed: [shape.classes.id: shape.classElements + stickies.map { shape.element($0.1, as: $0.0) }])
        return try connection.adopt(whole, owning: &isOwner)
    }

    /// The sticky classes that the table has: their chains belong to it as long as nobody takes them away.
    private func presentStickies() throws -> [(SlotClass, StickyClass)] {
        guard try connection.table(shape.name) != nil,
            let classes = try connection.sets(in: shape.name).first(where: { $0.id == shape.classes.id }),
            classes.isSameDefinition(as: shape.classes)
        else { return [] }
        return try connection.elements(of: shape.classes.id).compactMap { shape.sticky($0) }
    }

    /// Every element that is there.
    ///
    /// The first time slots are read by their keys, which the frontends' numbers name. Slots that no number names stay unseen
    /// then, but it takes a foreign hand to make such, and who reads once more, because a change did not fit or for an audit,
    /// sees everything.
    func readElements() throws(NetlinkError) -> PresentElements {
        defer { hasRead = true }
        var present = PresentElements()
        for set in ServiceSet.allCases where set != .endpoints && set != .serviceRanges {
            present.insert(try dump(set))
        }
        let boundaries = try connection.elements(of: ServiceSet.serviceRanges.name(in: shape.name))
        for range in codec.serviceRanges(boundaries) { present.insert(range, .present) }
        for element in try connection.elements(of: shape.classes.id) {
            guard let (slotClass, sticky) = shape.sticky(element) else { continue }
            present.insert(.stickyClass(slotClass), .sticky(sticky))
        }
        if !hasRead, let slots = try readSlots(present.namedLists) {
            present.insert(slots)
        } else {
            present.insert(try dump(.endpoints))
        }
        return present
    }

    private func dump(_ set: ServiceSet) throws(NetlinkError) -> PresentElements {
        var present = PresentElements()
        try connection.forEachElement(of: set.name(in: shape.name), restart: { present = PresentElements() }) {
            insert($0, of: set, into: &present)
        }
        return present
    }

    /// nil when one is missing: then the table is not as any of us left it.
    private func readSlots(_ lists: [UInt32: Int]) throws(NetlinkError) -> PresentElements? {
        var keys: [UInt8] = []
        for (list, count) in lists {
            for slot in 0..<UInt32(count) { codec.encode(.endpoint(list: list, slot: slot), into: &keys) }
        }
        var present = PresentElements()
        let name = ServiceSet.endpoints.name(in: shape.name)
        let outcome = keys.withUnsafeBytes { keys in
            Result { () throws(NetlinkError) -> Bool in
                try connection.forEachElement(of: name, keys: keys, keySize: ServiceElementCodec.slotKeySize) {
                    insert($0, of: .endpoints, into: &present)
                }
            }
        }
        return try outcome.get() ? present : nil
    }

    private func insert(_ view: NFElementView, of set: ServiceSet, into present: inout PresentElements) {
        let element = codec.decode(
            set, key: view.key, keyEnd: view.keyEnd, value: view.value)
        if let element { present.insert(element.0, element.1) }
    }

    /// Carries out the changes in one transaction; how many element operations that took.
    func commit(_ changes: ServiceElements.Changes) throws(NFBatchError) -> Int {
        var batch = NFBatch()
        codec.append(changes, in: shape, to: &batch)
        try commit(batch)
        return batch.elementWrites
    }

    func commit(_ batch: NFBatch) throws(NFBatchError) { try connection.commit(batch) }

    /// Whether the table is there at all.
    func exists() throws(NetlinkError) -> Bool { try connection.table(shape.name) != nil }

    /// Takes the table away, with everything in it.
    func remove() throws(NFBatchError) {
        var batch = NFBatch()
        batch.destroy(shape.name)
        try commit(batch)
    }
}
