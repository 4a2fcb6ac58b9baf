import ClusterAPI
import ClusterClient
import JSON
import YAML

/// What is said of the mesh as a whole, in the words of Istio's MeshConfig: the member `mesh` of the ConfigMap `istio` in a root namespace.
/// Of its fields `extensionProviders` counts, and of those the ones that authorize.
struct MeshSettings: APIDecodable, Hashable {
    static let name = "istio"
    static let member = "mesh"

    let providers: [String: ExtensionProvider]
    /// Why nothing of it counts; nil when it can be read.
    let problem: String?

    init(_ object: KubeObject) {
        do throws(YAMLError) {
            let config = try YAML.parse(object.json[path: "data", Self.member]?.string ?? "{}")
            let providers = config.list("extensionProviders").compactMap(ExtensionProvider.init)
            self.providers = Dictionary(providers.map { ($0.name, $0) }) { first, _ in first }
            problem = nil
        } catch {
            (providers, problem) = ([:], "ConfigMap \(object.key), member \(Self.member): \(error)")
        }
    }
}

extension MeshWorld {
    /// By the name that policies use; of the first root namespace that has it.
    func provider(_ name: String) -> ExtensionProvider? {
        settings.sorted { $0.key < $1.key }.lazy.compactMap { $0.value.providers[name] }.first
    }

    /// Whether a Service may be one that is asked.
    func mayBeAsked(_ service: ObjectKey) -> Bool {
        settings.values.contains { $0.providers.values.contains { self.service(ofHost: $0.host) == service } }
    }

    /// The Service that a whole name, or one without the cluster's domain, is for; whether it is there is another matter.
    func service(ofHost host: String) -> ObjectKey? {
        let labels = host.split(separator: ".", maxSplits: 2).map(String.init)
        guard labels.count >= 2, ["", "svc", "svc.\(domain)"].contains(labels.count > 2 ? labels[2] : "") else {
            return nil
        }
        return ObjectKey(namespace: labels[1], name: labels[0])
    }
}
