import ClusterAPI
import ClusterClient
import JSON
import Synchronization

/// An API server in memory: lists, watches with and without initial events, then what the test says.
final class ScriptedCluster: APITransport {
    final class Stream: WatchStream {
        private let events: AsyncStream<WatchEvent>
        let sink: AsyncStream<WatchEvent>.Continuation
        init() { (events, sink) = AsyncStream.makeStream() }
        func next() async throws -> WatchEvent? {
            for await event in events { return event }
            return nil
        }
    }

    private struct State {
        var objects: [GroupVersionResource: [ObjectKey: KubeObject]] = [:]
        var watches: [GroupVersionResource: [Stream]] = [:]
        /// Every change, oldest first: a watch begins behind the revision that it names.
        var changes: [GroupVersionResource: [WatchEvent]] = [:]
        var events: [KubeObject] = []
        var revision = 100
        var lists = 0
    }
    private let state = Mutex(State())
    private let hasWatchList: Bool
    private let hasServiceCIDRs: Bool

    /// - Parameters:
    ///   - hasWatchList: false refuses `sendInitialEvents`, as servers before 1.34 do.
    ///   - hasServiceCIDRs: false knows no such resource, as servers before 1.33 do.
    init(hasWatchList: Bool = true, hasServiceCIDRs: Bool = true) {
        (self.hasWatchList, self.hasServiceCIDRs) = (hasWatchList, hasServiceCIDRs)
    }

    /// What was recorded, oldest first.
    var events: [KubeObject] { state.withLock { $0.events } }
    /// Watches that were opened for a resource, ended ones too.
    func watches(_ resource: GroupVersionResource) -> Int { state.withLock { $0.watches[resource]?.count ?? 0 } }
    /// Lists that were asked for, but those of ServiceCIDRs.
    var lists: Int { state.withLock { $0.lists } }

    func send(_ request: APIRequest) async throws -> JSONValue {
        try state.withLock { state in
            switch request.verb {
            case .create where request.resource == .events:
                let event = KubeObject(json: request.body ?? [:])
                state.events.append(event)
                return event.json
            case .get:
                let key = ObjectKey(namespace: request.namespace ?? "", name: request.name ?? "")
                if let object = state.objects[request.resource]?[key] { return object.json }
            case .list:
                // Asked for once, to see whether there are any.
                if request.resource == .serviceCIDRs, !hasServiceCIDRs { break }
                if request.resource != .serviceCIDRs { state.lists += 1 }
                return [
                    "apiVersion": "v1", "kind": "List", "metadata": ["resourceVersion": .string("\(state.revision)")],
                    "items": .array(state.objects[request.resource, default: [:]].values.map(\.json)),
                ]
            default: break
            }
            throw StatusError.notFound(request.resource, request.name ?? "")
        }
    }

    func document(_ path: String) async throws -> JSONValue { [:] }

    func watch(_ request: APIRequest) async throws -> any WatchStream {
        let stream = Stream()
        let wantsInitialEvents = request.parameters.contains { $0.name == "sendInitialEvents" }
        if wantsInitialEvents, !hasWatchList {
            throw StatusError(
                code: 422, reason: .invalid, message: "sendInitialEvents is forbidden for watch unless WatchList is on")
        }
        state.withLock { state in
            if wantsInitialEvents {
                for object in state.objects[request.resource, default: [:]].values {
                    stream.sink.yield(WatchEvent(kind: .added, object: object))
                }
                var end = KubeObject(apiVersion: "v1", kind: "X")
                end.annotations = [WatchEvent.initialEventsEndAnnotation: "true"]
                end.resourceVersion = "\(state.revision)"
                stream.sink.yield(WatchEvent(kind: .bookmark, object: end))
            } else {
                let start = request.parameters.first { $0.name == "resourceVersion" }.flatMap { Int($0.value) } ?? 0
                for change in state.changes[request.resource, default: []]
                where Int(change.object.resourceVersion) ?? 0 > start {
                    stream.sink.yield(change)
                }
            }
            state.watches[request.resource, default: []].append(stream)
        }
        return stream
    }

    func put(_ resource: GroupVersionResource, _ text: String) throws {
        var object = KubeObject(json: try JSONValue.parse(text))
        state.withLock { state in
            state.revision += 1
            object.resourceVersion = "\(state.revision)"
            let kind: WatchEvent.Kind = state.objects[resource]?[object.key] == nil ? .added : .modified
            state.objects[resource, default: [:]][object.key] = object
            Self.tell(WatchEvent(kind: kind, object: object), of: resource, &state)
        }
    }

    func delete(_ resource: GroupVersionResource, _ key: ObjectKey) {
        state.withLock { state in
            guard var object = state.objects[resource]?.removeValue(forKey: key) else { return }
            state.revision += 1
            object.resourceVersion = "\(state.revision)"
            Self.tell(WatchEvent(kind: .deleted, object: object), of: resource, &state)
        }
    }

    private static func tell(_ change: WatchEvent, of resource: GroupVersionResource, _ state: inout State) {
        state.changes[resource, default: []].append(change)
        for watch in state.watches[resource, default: []] { watch.sink.yield(change) }
    }
}

extension ScriptedCluster {
    /// - Parameter more: further fields of the spec, each with a comma before it.
    static func service(_ name: String, _ clusterIP: String, more: String = "") -> String {
        """
        {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "\(name)", "uid": "uid-\(name)"},
         "spec": {"clusterIP": "\(clusterIP)", "clusterIPs": ["\(clusterIP)"],
         "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]\(more)}}
        """
    }

    /// - Parameters:
    ///   - annotations: as JSON members.
    ///   - hints: zones, one for each address, or none at all.
    static func slice(
        _ name: String, _ addresses: [String], ready: Bool = true, annotations: String = "", hints: [String] = []
    ) -> String {
        let endpoints = addresses.enumerated().map { index, address in
            let hint = hints.isEmpty ? "" : #", "hints": {"forZones": [{"name": "\#(hints[index])"}]}"#
            return #"{"addresses": ["\#(address)"], "conditions": {"ready": \#(ready)}, "nodeName": "node-1"\#(hint)}"#
        }
        return """
            {"metadata": {"namespace": "shop", "name": "\(name)-x", "labels": {"kubernetes.io/service-name": "\(name)"},
             "annotations": {\(annotations)}},
             "addressType": "IPv4", "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
             "endpoints": [\(endpoints.joined(separator: ","))]}
            """
    }

    static func node(zone: String = "", podCIDRs: [String] = [], addresses: [String] = [], taint: String = "") -> String
    {
        """
        {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "\(zone)"}},
         "spec": {"podCIDRs": [\(podCIDRs.map { "\"\($0)\"" }.joined(separator: ","))],
          "taints": [{"key": "\(taint)"}]},
         "status": {"addresses": [\(addresses.map { #"{"type": "InternalIP", "address": "\#($0)"}"# }
            .joined(separator: ","))]}}
        """
    }
}

/// Waits until it holds; fails with what was waited for.
func until(_ what: String, _ holds: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while try await !holds() {
        guard ContinuousClock.now < deadline else { throw ProxyBench.Failure(description: "never: \(what)") }
        try await Task.sleep(for: .milliseconds(5))
    }
}
