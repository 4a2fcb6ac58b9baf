public import Bytes
public import ClusterAPI
import Delta
import Netlink
import NodeTables
import Reactor

/// The policies of one node without their surroundings: objects in, `sync` writes what changed. Knows no API server, no clock and
/// no loop.
///
/// Belongs to one thread, or loop, at a time.
public final class NodePolicy {
    private(set) var desired: DesiredPolicies
    let kernel: KernelPolicies
    private var isPrepared = false
    /// In force; nil while every packet is judged.
    private var mark: JudgementMark?
    private var lastMark: JudgementMark?

    /// - Parameters:
    ///   - node: this one's name.
    ///   - rejects: packets that are not allowed are answered with an ICMP error instead of silence.
    ///   - namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    public init(
        node: String, rejects: Bool = false, tableName: String = "weft-policy", owning: Bool = true,
        namespace: CInt? = nil
    ) throws {
        desired = DesiredPolicies(node: node)
        kernel = try KernelPolicies(
            PolicyTable(tableName, refusal: rejects ? .reject : .drop), owning: owning, namespace: namespace)
    }

    // MARK: What the cluster wants

    public func set(_ policy: NetworkPolicySpec) { desired.set(policy) }
    public func removePolicy(_ key: ObjectKey) { desired.removePolicy(key) }
    /// nil when the namespace is gone.
    public func setNamespace(_ name: String, labels: [String: String]?) {
        desired.setNamespace(name, labels: labels)
    }
    public func set(_ pod: PolicyPod) { desired.set(pod) }
    public func removePod(_ key: ObjectKey) { desired.removePod(key) }
    /// The pod network gives a pod of this node these addresses. Until the pod itself is known, nothing is allowed it.
    public func attach(_ pod: ObjectKey, _ addresses: [IPAddress]) { desired.attach(pod, addresses) }
    /// The pod network took them back.
    public func detach(_ pod: ObjectKey, _ addresses: [IPAddress]) { desired.detach(pod, addresses) }
    public func knows(_ pod: ObjectKey) -> Bool { desired.knows(pod) }

    public var policyCount: Int { desired.policyCount }
    public var profileCount: Int { desired.profileCount }
    public var identityCount: Int { desired.identityCount }
    public var isolatedCount: Int { desired.isolatedCount }
    public var elementCount: Int { desired.tracker.desiredCount }
    public var hasChanges: Bool { desired.hasChanges || !isPrepared }

    // MARK: What the kernel gets

    /// Makes the kernel's table what the objects want; how many element operations it took. Cost is proportional to what
    /// changed. After a refusal everything is read again and tried once more; when it throws, what is missing stays to be
    /// done by the next `sync`.
    @discardableResult
    public func sync() throws -> Int {
        desired.plan()
        do {
            return try commit()
        } catch let error as NFBatchError where !error.isForbidden {
            isPrepared = false
            return try commit()
        }
    }

    private func commit() throws -> Int {
        if !isPrepared {
            let found = try kernel.prepare()
            let present = found == .created ? [:] : try kernel.elements()
            desired.tracker.observeAll(present.lazy.map { ($0.key, $0.value) })
            // Other rules may judge otherwise.
            take(found == .adopted ? JudgementMark(present[.stamp]) { present[.judged($0)] != nil } : nil)
            isPrepared = true
        }
        var changes = Array(desired.tracker.changes)
        if mark != nil, changes.contains(where: \.mayForbid) {
            take(nil)
            changes = Array(desired.tracker.changes)
        }
        guard !changes.isEmpty else { return 0 }
        do {
            let writes = try kernel.commit(changes)
            for change in changes { desired.tracker.confirm(change) }
            return writes
        } catch {
            isPrepared = false
            throw error
        }
    }

    // MARK: Connections that were judged

    /// Whether connections that pass are marked, and spared from then on. Any `sync` may end that.
    public var marksJudged: Bool { mark != nil }

    /// Marks connections that pass from now on. Only when nothing was written for as long as a packet may be under way
    /// (`settlingTime`).
    @discardableResult
    public func markJudged() throws -> Int {
        guard mark == nil, isPrepared, !desired.hasChanges else { return 0 }
        take((lastMark ?? JudgementMark(number: .random(in: 0 ... .max))).next)
        return try sync()
    }

    /// A packet is judged within one turn of a processor's network work.
    public static let settlingTime: Duration = .milliseconds(20)

    private func take(_ mark: JudgementMark?) {
        if let old = self.mark { desired.tracker.abandon(.judged(old.value)) }
        if let mark {
            desired.tracker.desire(.judged(mark.value), .present)
            desired.tracker.desire(.stamp, .number(mark.value))
            lastMark = mark
        } else {
            desired.tracker.abandon(.stamp)
        }
        self.mark = mark
    }

    /// Reads the table before the next `sync`: somebody may have changed it.
    public func distrust() { isPrepared = false }

    /// Whether a table of this name is ours.
    func isOurs(_ name: NFTableName) -> Bool { kernel.table.name == name }
    /// Whether a message about a table tells of our own change.
    func isOwnPort(_ port: UInt32) -> Bool { kernel.portID == port }
    /// Whether nobody else can change the table, so that nobody needs to listen.
    var isProtected: Bool { kernel.isOwner }

    /// Removes the table and everything in it, for good.
    public func removeTable() throws { try kernel.remove() }
}
