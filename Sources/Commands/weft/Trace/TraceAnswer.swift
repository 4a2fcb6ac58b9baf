import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Netlink
import Reactor
import ServiceProxy
import Synchronization
import YAML

/// The answer to `weft service trace`: reads the objects, and the kernel where it is asked, and asks the tracer.
struct TraceAnswer {
    let trace: ServiceTrace
    private let cluster: TraceCluster
    private let resolved: TraceQuestion.Resolved

    init(_ command: TraceService) throws {
        let kubeConfig = try command.access.load()
        let question = try command.question(namespace: kubeConfig.namespace)
        let objects = try Objects.read(kubeConfig)
        cluster = objects.cluster
        let namespace: NamespaceHandle?
        let local: Set<IPAddress>
        if let record = try command.live && command.netns == nil ? command.access.record() : nil {
            // Each node of `weft up` is a namespace of its own, so that the question tells which.
            resolved = try question.resolve(in: cluster)
            namespace = try Self.namespace(of: resolved.node, record)
            local = try namespace.map { try Self.addresses(in: $0) } ?? []
        } else {
            namespace = command.live ? try command.netns.map(NamespaceHandle.open) ?? .current() : nil
            local = try namespace.map { try Self.addresses(in: $0) } ?? []
            resolved = try question.resolve(in: cluster, local: local)
        }
        let configuration = try Self.configuration(command, objects, node: resolved.node)
        let tracer = cluster.tracer(configuration, addresses: local.union(cluster.addresses(of: resolved.node)))
        let packet = resolved.packet(configuration)
        trace =
            if let namespace {
                try tracer.trace(packet, besideKernelIn: namespace.descriptor)
            } else {
                tracer.trace(packet)
            }
    }

    var lines: [String] { ["\(resolved.description):"] + trace.lines(names: cluster.name(of:)) }

    var json: JSONValue {
        var object = trace.json(names: cluster.name(of:)).object ?? [:]
        object["node"] = .string(resolved.node)
        object["question"] = .string(resolved.description)
        return .object(object)
    }

    // MARK: The proxy's configuration

    /// What weft-node takes for all pods when nothing says.
    private static let clusterPrefixes = "10.244.0.0/16"

    private static func configuration(_ command: TraceService, _ objects: Objects, node: String) throws
        -> ServiceProxyConfiguration
    {
        let cluster = objects.cluster
        let identity = cluster.identity(of: node) ?? NodeIdentity(name: node)
        var file: KubeProxyConfiguration?
        if let path = command.config {
            file = try KubeProxyConfiguration(try YAML.parse(Files.readText(path, limit: 1 << 20)), file: path)
        } else if let text = objects.kubeProxy, command.clusterCidr == nil {
            file = try KubeProxyConfiguration(try YAML.parse(text), file: "ConfigMap kube-system/kube-proxy")
        }
        if let file {
            return file.configuration(
                identity, nodePrefixes: cluster.podPrefixes(of: node), primary: cluster.addresses(of: node))
        }
        var configuration = ServiceProxyConfiguration(node: identity)
        let prefixes = try (command.clusterCidr ?? clusterPrefixes).split(separator: ",").map { text in
            guard let prefix = CIDR(text) else { throw Refusal("--cluster-cidr \(text)", hint: "10.244.0.0/16, say") }
            return prefix
        }
        configuration.localDetector = prefixes.isEmpty ? .none : .prefixes(prefixes)
        return configuration
    }

    // MARK: The node itself

    private static func namespace(of node: String, _ record: ClusterRecord) throws -> NamespaceHandle {
        guard let node = record.nodes.first(where: { $0.name == node }) else { return try NamespaceHandle.current() }
        return try NamespaceHandle.open(record.namespacePath(node))
    }

    private static func addresses(in namespace: NamespaceHandle) throws -> Set<IPAddress> {
        Set(try RouteConnection(namespace: namespace.descriptor).addresses().map(\.address.address))
    }
}

/// What is read of an API server for a question.
private struct Objects: Sendable {
    var cluster: TraceCluster
    /// The file in the ConfigMap by which kubeadm configures kube-proxies.
    var kubeProxy: String?

    /// How long the server may take.
    private static let patience: Duration = .seconds(30)

    static func read(_ config: KubeConfig) throws -> Objects {
        let result = Mutex<Result<Objects, any Error>?>(nil)
        _ = runOnLoops(threads: 1) { group in
            let loop = group.all[0]
            let answer: Result<Objects, any Error>
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

    private static func read(_ client: KubeClient) async throws -> Objects {
        let cluster = TraceCluster(
            services: try await client.list(.services).items,
            endpointSlices: try await client.list(.endpointSlices).items,
            nodes: try await client.list(.nodes).items, pods: try await client.list(.pods).items,
            // Servers before 1.33 have none, and proxies then drop nothing for them.
            serviceCIDRs: (try? await client.list(.serviceCIDRs).items) ?? [])
        let key = ObjectKey(namespace: "kube-system", name: "kube-proxy")
        // Who may not read it asks for the defaults.
        let map = try? await client.find(.configMaps, key)
        return Objects(cluster: cluster, kubeProxy: map?.json["data"]?["config.conf"]?.string)
    }
}
