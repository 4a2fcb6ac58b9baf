import Bytes
public import ClusterAPI
import JSON
import Reactor
import Synchronization
import Telemetry

/// Tells users what happened to an object, as core/v1 Events that `kubectl describe` shows.
///
/// The same event again (object, type, reason, message) raises the count of the first one instead of making another.
/// Recording never waits and never fails its caller: at most `queueLimit` events are under way, more are dropped and counted.
public final class EventRecorder: Sendable {
    private struct Key: Hashable {
        var object: String
        var type: String
        var reason: String
        var message: String
    }

    private struct State {
        var known: [Key: (name: ObjectKey, count: Int64)] = [:]
        var underWay = 0
        var dropped = 0
    }

    /// Events in flight to the server; beyond it events are dropped.
    public static let queueLimit = 256
    /// Remembered events; beyond it all are forgotten and counting starts anew.
    public static let memoryLimit = 4096

    private let client: KubeClient
    private let component: String
    private let host: String
    private let loop: EventLoop
    private let log: Log
    private let state = Mutex(State())

    /// - Parameters:
    ///   - component: the part that reports, as upstream names it (`kubelet`, `default-scheduler`).
    ///   - host: the node's name; empty in the control plane.
    public init(_ client: KubeClient, component: String, host: String = "", loop: EventLoop, log: Log = .shared) {
        self.client = client
        self.component = component
        self.host = host
        self.loop = loop
        self.log = log
    }

    /// Events that were not sent because too many were under way.
    public var dropped: Int { state.withLock { $0.dropped } }

    public func normal(_ object: KubeObject, _ reason: String, _ message: String) {
        record(object, "Normal", reason, message)
    }

    public func warning(_ object: KubeObject, _ reason: String, _ message: String) {
        record(object, "Warning", reason, message)
    }

    private func record(_ object: KubeObject, _ type: String, _ reason: String, _ message: String) {
        let key = Key(object: object.uid + "/\(object.key)", type: type, reason: reason, message: message)
        let now = Timestamp.now().rfc3339
        enum Step { case drop, create(ObjectKey), count(ObjectKey, Int64) }
        let step = state.withLock { state -> Step in
            guard state.underWay < Self.queueLimit else {
                state.dropped += 1
                return .drop
            }
            state.underWay += 1
            if state.known.count >= Self.memoryLimit { state.known.removeAll(keepingCapacity: true) }
            if let (name, count) = state.known[key] {
                state.known[key] = (name, count + 1)
                return .count(name, count + 1)
            }
            let suffix = String(UInt64.random(in: .min ... .max), radix: 16)
            let name = ObjectKey(
                namespace: object.namespace.isEmpty ? "default" : object.namespace, name: "\(object.name).\(suffix)")
            state.known[key] = (name, 1)
            return .create(name)
        }
        let client = client
        switch step {
        case .drop: return
        case .create(let name):
            var event = KubeObject(apiVersion: "v1", kind: "Event", namespace: name.namespace, name: name.name)
            event.json["involvedObject"] = [
                "apiVersion": .string(object.apiVersion), "kind": .string(object.kind),
                "namespace": .string(object.namespace), "name": .string(object.name), "uid": .string(object.uid),
                "resourceVersion": .string(object.resourceVersion),
            ]
            event.json["reason"] = .string(reason)
            event.json["message"] = .string(message)
            event.json["type"] = .string(type)
            event.json["source"] =
                host.isEmpty
                ? ["component": .string(component)] : ["component": .string(component), "host": .string(host)]
            event.json["reportingComponent"] = .string(component)
            event.json["reportingInstance"] = .string(host)
            event.json["firstTimestamp"] = .string(now)
            event.json["lastTimestamp"] = .string(now)
            event.json["count"] = 1
            let sent = event
            send { try await client.create(.events, sent) }
        case .count(let name, let count):
            send {
                try await client.patch(.events, name, .merge, ["count": .int(count), "lastTimestamp": .string(now)])
            }
        }
    }

    private func send(_ work: @escaping @Sendable () async throws -> KubeObject) {
        let loop = loop
        Task(executorPreference: loop) { [self] in
            do {
                _ = try await work()
            } catch {
                log.debug("event not recorded", ["component": component, "error": "\(error)"])
            }
            state.withLock { $0.underWay -= 1 }
        }
    }
}
