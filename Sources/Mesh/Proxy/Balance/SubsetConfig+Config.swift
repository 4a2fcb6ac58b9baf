import JSON
import XDS

extension SubsetConfig {
    /// A `Cluster.LbSubsetConfig`.
    init(legacy node: ConfigNode) throws(ConfigError) { try self.init(common: node) }

    /// An `envoy.extensions.load_balancing_policies.subset.v3.Subset`, without the policy that it wraps.
    init(listed node: ConfigNode) throws(ConfigError) {
        try self.init(common: node)
        allowRedundantKeys = node.bool("allow_redundant_keys")
    }

    private init(common node: ConfigNode) throws(ConfigError) {
        self.init()
        fallback =
            switch try node.enumeration("fallback_policy", as: ClusterFallback.self) {
            case .none: .noFallback
            case .any: .anyEndpoint
            case .defaultSubset: .defaultSubset
            }
        defaultSubset = node.structure("default_subset") ?? JSONObject()
        selectors = try node.messages("subset_selectors") { (node) throws(ConfigError) in
            let keys = node.strings("fallback_keys_subset")
            let fallback: Selector.Fallback =
                switch try node.enumeration("fallback_policy", as: SelectorFallback.self) {
                case .notDefined: .notDefined
                case .none: .noFallback
                case .any: .anyEndpoint
                case .defaultSubset: .defaultSubset
                case .keysSubset: .keysSubset(keys)
                }
            return Selector(
                node.strings("keys"), fallback: fallback, singleHostPerSubset: node.bool("single_host_per_subset"))
        }
        localityWeightAware = node.bool("locality_weight_aware")
        scaleLocalityWeight = node.bool("scale_locality_weight")
        panicModeAny = node.bool("panic_mode_any")
        listAsAny = node.bool("list_as_any")
        usesFallbackList =
            try node.enumeration("metadata_fallback_policy", as: MetadataFallback.self) == .list
    }

    private enum ClusterFallback: String, ConfigEnum {
        case none = "NO_FALLBACK"
        case any = "ANY_ENDPOINT"
        case defaultSubset = "DEFAULT_SUBSET"
    }

    private enum SelectorFallback: String, ConfigEnum {
        case notDefined = "NOT_DEFINED"
        case none = "NO_FALLBACK"
        case any = "ANY_ENDPOINT"
        case defaultSubset = "DEFAULT_SUBSET"
        case keysSubset = "KEYS_SUBSET"
    }

    private enum MetadataFallback: String, ConfigEnum {
        case none = "METADATA_NO_FALLBACK"
        case list = "FALLBACK_LIST"
    }
}
