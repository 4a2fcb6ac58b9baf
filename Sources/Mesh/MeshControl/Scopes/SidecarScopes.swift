import ClusterAPI
import Discovery
import XDS

/// The scopes of sidecars' own listeners and clusters: one for each shape of pods that has a proxy, made when the first of them connects,
/// gone with its last pod. On the server's loop.
final class SidecarScopes {
    private final class Entry {
        let shape: InboundShape
        let scope: ServedScope
        var pods: Set<ObjectKey> = []

        init(_ shape: InboundShape) {
            self.shape = shape
            scope = ServedScope("\(shape.namespace)/\(shape.workload)")
        }
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

    /// Whether the pod's proxy has come at some time.
    func serves(_ pod: ObjectKey) -> Bool { shapes[pod] != nil }

    /// For the proxy of a pod of this shape.
    ///
    /// - Throws: What the API has no words for; nothing has changed then.
    func scope(of pod: ObjectKey, _ shape: InboundShape) throws(ConfigError) -> ServedScope {
        if let old = shapes[pod], old != shape, let problem = change([(pod, shape)]).problems.first { throw problem }
        let entry = try entry(of: shape)
        entry.pods.insert(pod)
        // The entry's own, so that pods of one shape share its memory.
        shapes[pod] = entry.shape
        return entry.scope
    }

    /// Pods may have other shapes now; nil: it is gone. One whose proxy has never come is none of ours.
    ///
    /// - Returns: The scopes that proxies see now in place of others, and what the API has no words for; those pods stay as they were.
    func change(
        _ pods: [(pod: ObjectKey, shape: InboundShape?)]
    ) -> (changed: [ServedScope], problems: [ConfigError]) {
        struct Move {
            var from, to: ServedScope
            var pods: Set<ObjectKey> = []
        }
        // Most changes are those of all pods of a shape, whose streams are looked through once.
        var moves: [[ObjectIdentifier]: Move] = [:]
        var problems: [ConfigError] = []
        for (pod, shape) in pods {
            guard let old = shapes[pod], old != shape, let left = entries[old] else { continue }
            if let shape {
                do throws(ConfigError) {
                    let entry = try entry(of: shape)
                    entry.pods.insert(pod)
                    shapes[pod] = entry.shape
                    let way = [ObjectIdentifier(left.scope), ObjectIdentifier(entry.scope)]
                    moves[way, default: Move(from: left.scope, to: entry.scope)].pods.insert(pod)
                } catch {
                    problems.append(error)
                    continue
                }
            } else {
                shapes[pod] = nil
            }
            left.pods.remove(pod)
            if left.pods.isEmpty { entries[old] = nil }
        }
        for move in moves.values {
            server.move(from: move.from, to: move.to) { node in
                ProxyIdentity.named(node.id).map { move.pods.contains($0.pod) } ?? false
            }
        }
        return (moves.values.map(\.to), problems)
    }

    private func entry(of shape: InboundShape) throws(ConfigError) -> Entry {
        if let entry = entries[shape] { return entry }
        let changes = try InboundTranslation(trustDomain: trustDomain, shape: shape).changes()
        let entry = Entry(shape)
        server.publish(changes, in: entry.scope)
        entries[shape] = entry
        return entry
    }
}
