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
        let objects = try TraceObjects.read(kubeConfig)
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
        let configuration = try objects.configuration(
            of: resolved.node, file: command.config, clusterPrefixes: command.clusterCidr)
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

    // MARK: The node itself

    private static func namespace(of node: String, _ record: ClusterRecord) throws -> NamespaceHandle {
        guard let node = record.nodes.first(where: { $0.name == node }) else { return try NamespaceHandle.current() }
        return try NamespaceHandle.open(record.namespacePath(node))
    }

    private static func addresses(in namespace: NamespaceHandle) throws -> Set<IPAddress> {
        Set(try RouteConnection(namespace: namespace.descriptor).addresses().map(\.address.address))
    }
}
