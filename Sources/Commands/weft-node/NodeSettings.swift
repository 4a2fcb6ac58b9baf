import JSON
import Reactor
import ServiceProxy
import YAML

/// The config file: a YAML mapping from flag names to values. Unknown names are errors, so that a typing mistake is found.
struct NodeSettings {
    private let values: JSONObject
    private let path: String
    let kubeProxy: KubeProxyConfiguration?

    private static let names: Set<String> = [
        "kubeconfig", "node-name", "node-ip", "roles", "state-dir", "run-dir", "log-dir", "pod-cidr", "cluster-cidr",
        "backend", "cluster-dns", "cluster-domain", "mesh-address", "port", "healthz-bind-address", "tls-cert-file",
        "tls-private-key-file",
        "client-ca-file", "node-labels", "cgroup-root", "hidden-paths", "log-level",
    ]

    init(_ path: String?) throws {
        self.path = path ?? ""
        guard let path else {
            (values, kubeProxy) = ([:], nil)
            return
        }
        do {
            let document = try YAML.parse(try Files.readText(path, limit: 1 << 20))
            if document["kind"]?.string == KubeProxyConfiguration.kind {
                (values, kubeProxy) = ([:], try KubeProxyConfiguration(document, file: path))
                return
            }
            kubeProxy = nil
            if case .null = document {
                values = [:]
                return
            }
            guard let object = document.object else {
                throw NodeOptions.Invalid(description: "must be a mapping from settings to values")
            }
            values = object
        } catch {
            throw NodeOptions.Invalid(description: "--config \(path): \(error)")
        }
        for name in values.keys where !Self.names.contains(name) {
            throw NodeOptions.Invalid(description: "--config \(path): there is no setting \"\(name)\"")
        }
    }

    /// A setting as the flag would give it; lists are joined with commas.
    func text(_ name: String) throws -> String? {
        switch values[name] {
        case nil, .null: return nil
        case .string(let text): return text
        case .int(let number): return String(number)
        case .array(let items):
            let texts = items.compactMap(\.string)
            guard texts.count == items.count else { break }
            return texts.joined(separator: ",")
        default: break
        }
        throw NodeOptions.Invalid(
            description: "--config \(path): setting \"\(name)\" must be text, a number, or a list of texts")
    }
}
