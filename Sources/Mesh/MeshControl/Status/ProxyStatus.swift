public import ClusterAPI
import Discovery
public import JSON
import XDS

/// One connected proxy as people are told of it (`/mesh/proxies`): who it is, and how far it is with each kind of resource.
public struct ProxyStatus: Hashable, Sendable {
    /// The words are istioctl's.
    public enum Sync: String, Sendable {
        /// The proxy has accepted what there is.
        case synced = "SYNCED"
        /// Something newer is on its way, or was sent and is not answered yet.
        case stale = "STALE"
        /// It was asked for and never sent: there is none.
        case notSent = "NOT SENT"
        /// The proxy refused the last that it was sent, and goes on with what it had.
        case error = "ERROR"
    }

    public struct Kind: Hashable, Sendable {
        /// The API's short name: `cds`.
        public var name: String
        public var sync: Sync
        /// What was accepted last.
        public var version: String
        /// Why the last was refused, in the proxy's words.
        public var refusal: String
    }

    /// The node's name, as the proxy says it.
    public var id: String
    /// `sidecar` or `router`; empty for a client that says nothing of the kind.
    public var kind: String
    /// Empty name for a client that is no pod's.
    public var pod: ObjectKey
    /// As it calls itself: `envoy`, `weft-proxy`, `gRPC C-core`.
    public var agent: String
    public var node: String
    public var version: String
    /// `delta` or `sotw`.
    public var form: String
    public var address: String
    /// RFC 3339.
    public var since: String
    public var kinds: [Kind]

    init(_ stream: StreamStatus) {
        id = stream.node.id
        let named = ProxyIdentity.named(id)
        kind = named?.kind.rawValue ?? ""
        pod = named?.pod ?? ObjectKey(name: "")
        agent = stream.node.userAgent
        let details = ProxyDetails(stream.node.bytes)
        node = details.node
        version = details.version
        form = stream.form == .delta ? "delta" : "sotw"
        address = stream.peer
        since = stream.since
        kinds = ResourceKind.allCases.compactMap { kind in
            guard let accepted = stream.accepted[kind] else { return nil }
            let sync: Sync =
                if stream.refusals[kind] != nil {
                    .error
                } else if stream.behind.contains(kind) {
                    .stale
                } else if accepted.isEmpty {
                    .notSent
                } else {
                    .synced
                }
            return Kind(name: kind.service, sync: sync, version: accepted, refusal: stream.refusals[kind] ?? "")
        }
    }

    public var json: JSONValue {
        var all = JSONObject()
        for kind in kinds {
            var one: JSONObject = ["status": .string(kind.sync.rawValue)]
            if !kind.version.isEmpty { one["version"] = .string(kind.version) }
            if !kind.refusal.isEmpty { one["error"] = .string(kind.refusal) }
            all[kind.name] = .object(one)
        }
        return [
            "namespace": .string(pod.namespace), "pod": .string(pod.name), "kind": .string(kind), "id": .string(id),
            "node": .string(node), "agent": .string(agent), "version": .string(version),
            "protocol": .string(form), "address": .string(address), "connectedSince": .string(since),
            "resources": .object(all),
        ]
    }
}

/// What else a `Node` says: its metadata's `NODE_NAME`, and its build.
struct ProxyDetails {
    private(set) var node = ""
    private(set) var version = ""

    init(_ bytes: [UInt8]) {
        guard let type = ProtoSchema.envoy.message("envoy.config.core.v3.Node"),
            let json = try? Message(binary: bytes, type: type).json()
        else { return }
        node = json["metadata"]?["NODE_NAME"]?.string ?? ""
        let build = json["user_agent_build_version"]?["version"]
        let numbers = ["major_number", "minor_number", "patch"].map { build?[$0]?.int ?? 0 }
        version =
            json["user_agent_version"]?.string ?? (build == nil ? "" : numbers.map(String.init).joined(separator: "."))
    }
}
