import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Telemetry

/// Keeps this node's Node object and Lease at the API server true.
public struct NodeRegistration: Sendable {
    private let client: KubeClient
    private let report: NodeReport
    private let unready: @Sendable () async -> String?
    private let log: Log

    /// How often the status is thought over.
    static let evaluationPeriod: Duration = .seconds(10)
    /// While the node is not ready, so that it is known within a moment when it becomes so.
    static let evaluationPeriodUnready: Duration = .milliseconds(100)
    /// An unchanged status is sent again after this long.
    static let heartbeat: Duration = .seconds(300)
    static let leasePeriod: Duration = .seconds(10)
    static let leaseDurationSeconds: Int64 = 40
    static let leaseNamespace = "kube-node-lease"

    /// - Parameter unready: why pods cannot be run now; nil when they can.
    public init(_ client: KubeClient, _ report: NodeReport, unready: @escaping @Sendable () async -> String?, log: Log)
    {
        self.client = client
        self.report = report
        self.unready = unready
        self.log = log
    }

    private var key: ObjectKey { ObjectKey(name: report.name) }

    /// Makes the Node object if it is not there, and gives the present one. Waits for the server as long as it takes.
    public func register() async throws -> KubeObject {
        var backoff = Backoff.reconnect
        while true {
            do {
                if let node = try await client.find(.nodes, key) { return node }
                do {
                    return try await client.create(.nodes, report.registration)
                } catch let error as StatusError where error.code == 409 {
                    continue
                }
            } catch {
                try Task.checkCancellation()
                log.warning("node not registered yet", ["node": report.name, "error": "\(error)"])
                try await EventLoop.sleep(for: backoff.next())
            }
        }
    }

    /// Pushes the status when it changed, and every five minutes. Until cancelled.
    public func keepStatus() async {
        var sent: (status: JSONValue, at: MonotonicTime)?
        var previous: JSONValue?
        let started = MonotonicTime.now()
        while !Task.isCancelled {
            let reason = await unready()
            do {
                if previous == nil { previous = try await register().json["status"] ?? [:] }
                if reason != nil, Self.saysReady(previous),
                    MonotonicTime.now().duration(since: started) < Self.startupGrace
                {
                    // A restart: the pods run on, and what is not up yet will be in a moment. Saying so would take them
                    // out of every Service.
                    try await EventLoop.sleep(for: Self.evaluationPeriodUnready)
                    continue
                }
                let status = report.status(unready: reason, previous: previous, now: .now())
                let isDue = sent.map { MonotonicTime.now().duration(since: $0.at) >= Self.heartbeat } ?? true
                if isDue || sent.map({ !NodeReport.isSame($0.status, status) }) ?? true {
                    let node = try await client.patch(
                        .nodes, key, .strategic, ["status": status], subresource: "status")
                    previous = node.json["status"]
                    sent = (report.status(unready: reason, previous: previous, now: .now()), .now())
                }
            } catch let error as StatusError where error.code == 404 {
                // Someone deleted the node: it comes back, as with the kubelet.
                previous = nil
                sent = nil
            } catch {
                if Task.isCancelled { return }
                log.warning("node status not sent", ["node": report.name, "error": "\(error)"])
                sent = nil
                try? await EventLoop.sleep(for: .seconds(1))
                continue
            }
            let period = reason == nil ? Self.evaluationPeriod : Self.evaluationPeriodUnready
            try? await EventLoop.sleep(for: period)
        }
    }

    /// How long after its start a node that was ready may be silent about what is not up yet.
    static let startupGrace: Duration = .seconds(10)

    private static func saysReady(_ status: JSONValue?) -> Bool {
        (status?["conditions"]?.array ?? []).contains {
            $0["type"]?.string == "Ready" && $0["status"]?.string == "True"
        }
    }

    /// Renews the node's Lease. Until cancelled.
    public func keepLease() async {
        let key = ObjectKey(namespace: Self.leaseNamespace, name: report.name)
        while !Task.isCancelled {
            var delay = Self.leasePeriod
            do {
                let now = Timestamp.now().rfc3339Micro
                let spec: JSONValue = [
                    "holderIdentity": .string(report.name), "leaseDurationSeconds": .int(Self.leaseDurationSeconds),
                    "renewTime": .string(now),
                ]
                do {
                    try await client.patch(.leases, key, .merge, ["spec": spec])
                } catch let error as StatusError where error.code == 404 {
                    var lease = KubeObject(
                        apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace: key.namespace, name: key.name)
                    lease.json["spec"] = spec
                    if let node = try await client.find(.nodes, self.key) {
                        lease.json["metadata"]?["ownerReferences"] = [
                            ["apiVersion": "v1", "kind": "Node", "name": .string(node.name), "uid": .string(node.uid)]
                        ]
                    }
                    try await client.create(.leases, lease)
                }
            } catch {
                if Task.isCancelled { return }
                log.warning("node lease not renewed", ["node": report.name, "error": "\(error)"])
                delay = .seconds(1)
            }
            try? await EventLoop.sleep(for: delay)
        }
    }
}
