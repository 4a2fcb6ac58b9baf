import HTTP
import JSON
import XDS

/// Clusters that share the requests of a route.
package final class WeightedClusters: Sendable {
    /// One of them, and what is done to the requests that it gets.
    final class Entry: Sendable {
        let choice: ForwardAction.Choice
        let weight: UInt64
        /// Under which a runtime layer may say another weight.
        let key: RuntimeKey?
        let requestHeaders: HeaderMutations
        let responseHeaders: HeaderMutations
        let overrides: FilterOverrides
        let host: [UInt8]
        /// Of hosts, over the route's own.
        let metadata: HostMetadata?

        init(_ node: ConfigNode, _ context: RouteContext, keys prefix: String) throws(ConfigError) {
            let (name, header) = (node.string("name"), node.string("cluster_header"))
            guard name.isEmpty != header.isEmpty else {
                throw node.error("needs either a name or a cluster_header")
            }
            choice = name.isEmpty ? .header(HeaderKey(header)) : .cluster(try context.cluster(name, node, "name"))
            weight = UInt64(node.uint32("weight", default: 0))
            key = prefix.isEmpty ? nil : RuntimeKey.named("\(prefix).\(name)")
            requestHeaders = try .request(node)
            responseHeaders = try .response(node)
            overrides = try FilterOverrides(node, context.build)
            host = Array(node.string("host_rewrite_literal").utf8)
            metadata = SubsetCriteria.read(node)
        }

        var presentWeight: UInt64 {
            guard let value = key?.value else { return weight }
            return UInt64(max(value, 0))
        }
    }

    private let entries: [Entry]
    private let total: UInt64
    /// A field of the request whose number decides.
    private let header: HeaderKey?
    private let usesHash: Bool
    private let hasKeys: Bool

    init(_ node: ConfigNode, _ context: RouteContext) throws(ConfigError) {
        let prefix = node.string("runtime_key_prefix")
        entries = try node.messages("clusters") { (node) throws(ConfigError) in
            try Entry(node, context, keys: prefix)
        }
        hasKeys = !prefix.isEmpty
        total = entries.reduce(0) { $0 + $1.weight }
        guard total > 0 else { throw node.error("clusters", "the sum of weights must be greater than 0") }
        guard total <= UInt64(UInt32.max) else { throw node.error("clusters", "the sum of weights is beyond 32 bits") }
        header = node.choice("random_value_specifier") == "header_name" ? HeaderKey(node.string("header_name")) : nil
        usesHash = node.bool("use_hash_policy", default: false)
        node.ignore("total_weight")
    }

    func choose(_ stream: HTTPStream, _ policies: [HashPolicy]) -> Entry {
        var value = stream.random
        if let header, let number = stream.request.value(header)?.decimal, number >= 0 { value = UInt64(number) }
        if usesHash, let hash = HashPolicy.hash(policies, stream) { value = hash }
        guard !hasKeys else { return choosePresent(value) }
        var rest = value % total
        for entry in entries {
            if rest < entry.weight { return entry }
            rest -= entry.weight
        }
        return entries[0]
    }

    /// By the weights that runtime layers say now.
    private func choosePresent(_ value: UInt64) -> Entry {
        let total = entries.reduce(0) { $0 &+ $1.presentWeight }
        guard total > 0 else { return entries[0] }
        var rest = value % total
        for entry in entries {
            let weight = entry.presentWeight
            if rest < weight { return entry }
            rest -= weight
        }
        return entries[0]
    }
}

/// The metadata that a route asks of hosts, for clusters with subsets.
enum SubsetCriteria {
    /// What `metadata_match` has under `envoy.lb`; nil for nothing.
    static func read(_ node: ConfigNode) -> HostMetadata? {
        guard let match = node.message("metadata_match") else { return nil }
        let found = match.structureMap("filter_metadata").first { $0.key == "envoy.lb" }?.value
        return found.flatMap { $0.isEmpty ? nil : HostMetadata($0) }
    }
}
