import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import ServiceProxy
import Synchronization
import YAML

/// What is read of an API server for a question about packets.
struct TraceObjects: Sendable {
    var cluster: TraceCluster
    /// The file in the ConfigMap by which kubeadm configures kube-proxies.
    var kubeProxy: String?

    /// How long the server may take.
    private static let patience: Duration = .seconds(30)

    static func read(_ config: KubeConfig) throws -> TraceObjects {
        let result = Mutex<Result<TraceObjects, any Error>?>(nil)
        _ = runOnLoops(threads: 1) { group in
            let loop = group.all[0]
            let answer: Result<TraceObjects, any Error>
            do {
                let client = KubeClient(try HTTPTransport(config, on: loop, userAgent: "weft"))
                answer = .success(try await withTimeout(patience, on: loop) { try await read(client) })
            } catch {
                answer = .failure(Refusal("\(config.server): \(error)", hint: "objects could not be read"))
            }
            result.withLock { $0 = answer }
        }
        guard let answer = result.withLock({ $0 }) else { throw Refusal("nothing was read", hint: config.server) }
        return try answer.get()
    }

    static func read(_ client: KubeClient) async throws -> TraceObjects {
        let cluster = TraceCluster(
            services: try await client.list(.services).items,
            endpointSlices: try await client.list(.endpointSlices).items,
            nodes: try await client.list(.nodes).items, pods: try await client.list(.pods).items,
            // Servers before 1.33 have none, and proxies then drop nothing for them.
            serviceCIDRs: (try? await client.list(.serviceCIDRs).items) ?? [])
        let key = ObjectKey(namespace: "kube-system", name: "kube-proxy")
        // Who may not read it asks for the defaults.
        let map = try? await client.find(.configMaps, key)
        return TraceObjects(cluster: cluster, kubeProxy: map?.json["data"]?["config.conf"]?.string)
    }

    // MARK: The proxy's configuration

    /// What weft-node takes for all pods when nothing says.
    private static let standardPrefixes = "10.244.0.0/16"

    /// How a node's service proxy is configured, as far as it can be known from here.
    ///
    /// - Parameters:
    ///   - file: a `KubeProxyConfiguration` that the asker names.
    ///   - clusterPrefixes: all pods, where no configuration says.
    func configuration(
        of node: String, file path: String? = nil, clusterPrefixes: String? = nil
    ) throws -> ServiceProxyConfiguration {
        let identity = cluster.identity(of: node) ?? NodeIdentity(name: node)
        var file: KubeProxyConfiguration?
        if let path {
            file = try KubeProxyConfiguration(try YAML.parse(Files.readText(path, limit: 1 << 20)), file: path)
        } else if let text = kubeProxy, clusterPrefixes == nil {
            file = try KubeProxyConfiguration(try YAML.parse(text), file: "ConfigMap kube-system/kube-proxy")
        }
        if let file {
            return file.configuration(
                identity, nodePrefixes: cluster.podPrefixes(of: node), primary: cluster.addresses(of: node))
        }
        var configuration = ServiceProxyConfiguration(node: identity)
        let prefixes = try (clusterPrefixes ?? Self.standardPrefixes).split(separator: ",").map { text in
            guard let prefix = CIDR(text) else { throw Refusal("--cluster-cidr \(text)", hint: "10.244.0.0/16, say") }
            return prefix
        }
        configuration.localDetector = prefixes.isEmpty ? .none : .prefixes(prefixes)
        return configuration
    }
}
