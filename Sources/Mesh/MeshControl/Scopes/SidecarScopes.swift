import ClusterAPI
import Discovery
import XDS

/// The scopes of sidecars' own listeners and clusters: one for each shape of pods that has a proxy, made when the first of them connects,
/// gone with its last pod. On the server's loop.
final class SidecarScopes {
    private final class Entry {
        let scope: ServedScope
        var pods: Set<ObjectKey> = []

        init(_ scope: ServedScope) { self.scope = scope }
    }

    private let server: DiscoveryServer
    private let trustDomain: String
    private var entries: [InboundShape: Entry] = [:]
    /// Of pods whose proxies have come at some time.
    private var shapes: [ObjectKey: InboundShape] = [:]

    init(_ server: DiscoveryServer, trustDomain: String) {
        self.server = server
        self.trustDomain = trustDomain
    }

    var count: Int { entries.count }

    /// For the proxy of a pod of this shape.
    ///
    /// - Throws: What the API has no words for; nothing has changed then.
    func scope(of pod: ObjectKey, _ shape: InboundShape) throws(ConfigError) -> ServedScope {
        if let old = shapes[pod], old != shape { try change(pod, to: shape) }
        let entry = try entry(of: shape)
        entry.pods.insert(pod)
        shapes[pod] = shape
        return entry.scope
    }

    /// A pod may have another shape now; nil: it is gone. One whose proxy has never come is none of ours.
    func change(_ pod: ObjectKey, to shape: InboundShape?) throws(ConfigError) {
        guard let old = shapes[pod], old != shape, let left = entries[old] else { return }
        if let shape {
            let entry = try entry(of: shape)
            entry.pods.insert(pod)
            server.move(from: left.scope, to: entry.scope) { node in ProxyIdentity.named(node.id)?.pod == pod }
        }
        shapes[pod] = shape
        left.pods.remove(pod)
        if left.pods.isEmpty { entries[old] = nil }
    }

    private func entry(of shape: InboundShape) throws(ConfigError) -> Entry {
        if let entry = entries[shape] { return entry }
        let changes = try InboundTranslation(trustDomain: trustDomain, shape: shape).changes()
        let entry = Entry(ServedScope("\(shape.namespace)/\(shape.workload)"))
        server.publish(changes, in: entry.scope)
        entries[shape] = entry
        return entry
    }
}
