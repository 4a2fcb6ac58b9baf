import Bytes
import Netlink
import NodeTables

/// The table as the kernel has it: adopts or makes the shape, reads the elements, commits changes, and reads what was refused.
///
/// Belongs to one thread, or loop, at a time.
final class KernelPolicies {
    let table: PolicyTable
    private let connection: NFTablesConnection
    /// Nobody else may write to the table while we live, and it stays when we go (Linux 6.9).
    private(set) var isOwner: Bool

    /// Who we are in notifications.
    var portID: UInt32 { connection.portID }

    init(_ table: PolicyTable, owning: Bool, namespace: CInt?) throws(NetlinkError) {
        self.table = table
        connection = try NFTablesConnection(namespace: namespace)
        isOwner = owning
    }

    func prepare() throws -> TableAdoption { try connection.adopt(table.shape, owning: &isOwner) }

    /// Every element that is there.
    func elements() throws(NetlinkError) -> [PolicyElementKey: PolicyElementValue] {
        var present: [PolicyElementKey: PolicyElementValue] = [:]
        for set in PolicySet.allCases {
            var part: [PolicyElementKey: PolicyElementValue] = [:]
            try connection.forEachElement(of: set.name(in: table.name), restart: { part = [:] }) { view in
                if let (key, value) = PolicyElementCodec.decode(set, view) { part[key] = value }
            }
            present.merge(part) { first, _ in first }
        }
        return present
    }

    /// Carries out the changes in one transaction; how many element operations that took.
    func commit(_ changes: [PolicyBatch.Change]) throws(NFBatchError) -> Int {
        let batch = PolicyBatch(changes, in: table.name).batch
        try connection.commit(batch)
        return batch.elementWrites
    }

    /// Takes the table away, with everything in it.
    func remove() throws(NFBatchError) {
        var batch = NFBatch()
        batch.destroy(table.name)
        try connection.commit(batch)
    }
}
