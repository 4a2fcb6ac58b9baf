import Bytes
import ClusterAPI
import JSON
import Reactor
import Telemetry

/// Runs work on one of several replicas at a time, by holding a Lease (coordination.k8s.io/v1).
///
/// The holder renews every `retryPeriod` and gives up when it could not for `renewDeadline`; others take over when they
/// have seen no renewal for `leaseDuration` of their own clock, so clocks need not agree.
public struct LeaderElector: Sendable {
    public var client: KubeClient
    public var lease: ObjectKey
    public var identity: String
    public var leaseDuration: Duration = .seconds(15)
    public var renewDeadline: Duration = .seconds(10)
    public var retryPeriod: Duration = .seconds(2)
    public var log: Log = .shared

    public init(client: KubeClient, lease: ObjectKey, identity: String) {
        self.client = client
        self.lease = lease
        self.identity = identity
    }

    /// Waits for the lease, runs `work` while it is held, and cancels `work` when it is lost; then starts over, until cancelled.
    public func run(_ work: @escaping @Sendable () async -> Void) async {
        var observed: (record: String, since: MonotonicTime)?
        while !Task.isCancelled {
            if await tryAcquire(&observed) {
                log.info("became leader", ["lease": "\(lease)", "identity": identity])
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await work() }
                    group.addTask { await holdUntilLost() }
                    await group.next()
                    group.cancelAll()
                }
                log.info("stopped leading", ["lease": "\(lease)", "identity": identity])
            }
            try? await EventLoop.sleep(for: retryPeriod)
        }
    }

    private func holdUntilLost() async {
        var renewed = MonotonicTime.now()
        var observed: (record: String, since: MonotonicTime)?
        while !Task.isCancelled {
            try? await EventLoop.sleep(for: retryPeriod)
            if await tryAcquire(&observed) {
                renewed = .now()
            } else if MonotonicTime.now().duration(since: renewed) > renewDeadline {
                return
            }
        }
    }

    /// One attempt to create, renew or take over the lease.
    private func tryAcquire(_ observed: inout (record: String, since: MonotonicTime)?) async -> Bool {
        do {
            let now = Timestamp.now().rfc3339Micro
            guard var current = try await client.find(.leases, lease) else {
                var fresh = KubeObject(
                    apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace: lease.namespace, name: lease.name)
                fresh.spec = [
                    "holderIdentity": .string(identity), "leaseDurationSeconds": .int(leaseDuration.components.seconds),
                    "acquireTime": .string(now), "renewTime": .string(now), "leaseTransitions": 0,
                ]
                try await client.create(.leases, fresh)
                return true
            }
            let holder = current.spec["holderIdentity"]?.string ?? ""
            if holder != identity && !holder.isEmpty {
                let record = "\(holder) \(current.spec["renewTime"]?.string ?? "")"
                if observed?.record != record { observed = (record, .now()) }
                guard let observed, MonotonicTime.now().duration(since: observed.since) > leaseDuration else {
                    return false
                }
            }
            if holder != identity {
                current.spec["acquireTime"] = .string(now)
                current.spec["leaseTransitions"] = .int((current.spec["leaseTransitions"]?.int ?? 0) + 1)
                current.spec["holderIdentity"] = .string(identity)
                current.spec["leaseDurationSeconds"] = .int(leaseDuration.components.seconds)
            }
            current.spec["renewTime"] = .string(now)
            try await client.update(.leases, current)
            return true
        } catch {
            log.debug("lease not renewed", ["lease": "\(lease)", "error": "\(error)"])
            return false
        }
    }
}
