public import Bytes
public import ClusterAPI
public import Reactor
public import Telemetry

import Netlink
import NodeTables
import Synchronization

/// Keeps a node's table what the cluster wants: writes at the first change of a quiet time at once, then as `SyncPace` says, after
/// a failure again in a second, and after a foreign change at once.
///
/// What the API server tells comes on the keeper's loop. The pod network asks from its own thread, and waits until what it asks for
/// is in force.
public final class PolicyKeeper: @unchecked Sendable {
    // `@unchecked`: `policy` and `missing` are touched with `lock` held only; timer and monitor belong to `loop`.
    private let lock = Mutex(())
    private let policy: NodePolicy
    private var missing: Set<Source> = [.policies, .namespaces, .pods]
    private let loop: EventLoop
    private let metrics: PolicyMetrics
    private let log: Log
    private var timer: TimerHandle?
    private var settling: TimerHandle?
    private var monitor: NetlinkMonitor?
    private var pace = SyncPace()
    private var hasSettled = false

    /// Nothing is written before all of these were read once: a half-read cluster looks like an open one.
    public enum Source: String, Sendable { case policies, namespaces, pods }

    static let retryPeriod: Duration = .seconds(1)

    /// - Parameters:
    ///   - rejects: packets that are not allowed are answered with an ICMP error instead of silence.
    ///   - namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    public init(
        node: String, rejects: Bool = false, on loop: EventLoop, namespace: CInt? = nil, metrics: PolicyMetrics,
        log: Log = .shared
    ) throws {
        policy = try NodePolicy(node: node, rejects: rejects, namespace: namespace)
        self.loop = loop
        self.metrics = metrics
        self.log = log
        metrics.readVerdicts { [weak self] in self?.verdicts(namespace) ?? [] }
    }

    private func verdicts(_ namespace: CInt?) -> [PolicyVerdictCount] {
        // A connection of its own: a scrape must not wait for a whole cluster that is written.
        guard let connection = try? NFTablesConnection(namespace: namespace) else { return [] }
        let table = lock.withLock { _ in policy.kernel.table }
        return (try? KernelPolicies.verdicts(table, through: connection)) ?? []
    }

    // MARK: What the API server tells

    /// On the loop.
    func change(_ change: (NodePolicy) -> Void) {
        lock.withLock { _ in change(policy) }
        ask()
    }

    /// On the loop.
    func synced(_ source: Source) {
        lock.withLock { _ in _ = missing.remove(source) }
        ask()
    }

    /// Why pods must not be attached yet; nil when they may.
    public var unreadiness: String? {
        lock.withLock { _ in
            missing.isEmpty
                ? nil
                : "network policies are not known yet: \(missing.map(\.rawValue).sorted().joined(separator: ", ")) not read"
        }
    }

    // MARK: What the pod network asks

    /// What is not in force must not be waited for: the pod is not attached, and tried again.
    public struct NotReady: Error, CustomStringConvertible { public var description: String }

    /// A pod of this node has these addresses now; what policies say of it is in force when this returns.
    public func admit(_ pod: ObjectKey, _ addresses: [IPAddress]) throws {
        if let unreadiness {
            metrics.refusedPods.increment()
            throw NotReady(description: unreadiness)
        }
        let writes = try lock.withLock { _ in
            policy.attach(pod, addresses)
            return try policy.sync()
        }
        metrics.elementWrites.increment(by: UInt64(writes))
        loop.submit { self.settle() }
    }

    public func release(_ pod: ObjectKey, _ addresses: [IPAddress]) {
        lock.withLock { _ in policy.detach(pod, addresses) }
        loop.submit { self.ask() }
    }

    /// Pods that were attached before this process began.
    public func adopt(_ pods: [(pod: ObjectKey, addresses: [IPAddress])]) {
        lock.withLock { _ in for pod in pods { policy.attach(pod.pod, pod.addresses) } }
        loop.submit { self.ask() }
    }

    // MARK: When to write

    private func ask() {
        let isReady = lock.withLock { _ in missing.isEmpty }
        guard isReady, timer == nil else { return }
        schedule(after: pace.delay(at: loop.now))
    }

    private func schedule(after delay: Duration) {
        // Also with no delay by way of the timer, so that all events of this turn are in.
        timer = loop.schedule(after: delay) { [weak self] in
            self?.timer = nil
            self?.sync()
        }
    }

    private func sync() {
        let start = MonotonicTime.now()
        let outcome = Result { try lock.withLock { _ in try policy.sync() } }
        let took = MonotonicTime.now().duration(since: start)
        switch outcome {
        case .success(let writes):
            observe(writes, took)
            settle()
            guard writes > 0 else { break }
            pace.wrote(until: MonotonicTime.now(), taking: took)
            log.debug("policies written", ["elements": "\(writes)", "took": "\(took)"])
        case .failure(let error):
            metrics.failures.increment()
            log.error("policies could not be written; trying again", ["error": "\(error)"])
            return schedule(after: Self.retryPeriod)
        }
        guard !hasSettled else { return }
        hasSettled = true
        Heap.giveBack()
        watch()
        log.info(
            "network policies are in force",
            ["policies": "\(Int(metrics.policies.value))", "isolated pods": "\(Int(metrics.isolated.value))"])
    }

    /// Has connections that pass marked, once nothing was written for a while. On the loop.
    private func settle() {
        guard !lock.withLock({ _ in policy.marksJudged }) else { return }
        if let settling { loop.cancel(settling) }
        settling = loop.schedule(after: NodePolicy.settlingTime) { [weak self] in
            guard let self else { return }
            settling = nil
            // What fails here fails in the next change as well, and is said there.
            if let writes = try? lock.withLock({ _ in try policy.markJudged() }) {
                metrics.elementWrites.increment(by: UInt64(writes))
            }
        }
    }

    private func observe(_ writes: Int, _ took: Duration) {
        metrics.duration.observe(took)
        metrics.elementWrites.increment(by: UInt64(writes))
        lock.withLock { _ in
            metrics.policies.set(Double(policy.policyCount))
            metrics.isolated.set(Double(policy.isolatedCount))
            metrics.profiles.set(Double(policy.profileCount))
            metrics.identities.set(Double(policy.identityCount))
            metrics.elements.set(Double(policy.elementCount))
        }
    }

    /// Where the table cannot be owned, others may change it.
    private func watch() {
        guard !lock.withLock({ _ in policy.isProtected }) else { return }
        do {
            monitor = try NetlinkMonitor(
                NFTablesConnection.subscribe(), on: loop,
                onNotification: { [weak self] notification in
                    guard let self else { return }
                    if case .message(let message) = notification {
                        let isForeign = lock.withLock { _ in
                            NFTableTouch(message).map { policy.isOurs($0.table) } == true
                                && !policy.isOwnPort(message.port)
                        }
                        guard isForeign else { return }
                    }
                    audit()
                },
                onFailure: { [weak self] error in self?.log.error("nftables cannot be followed", ["error": "\(error)"])
                })
        } catch {
            log.error("nftables cannot be followed", ["error": "\(error)"])
        }
    }

    /// Reads the table and writes what nobody told us. On the loop.
    func audit() {
        metrics.repairs.increment()
        lock.withLock { _ in policy.distrust() }
        ask()
    }

    /// On the loop.
    func close() {
        monitor?.close()
        monitor = nil
        if let timer { loop.cancel(timer) }
        timer = nil
        if let settling { loop.cancel(settling) }
        settling = nil
    }
}
