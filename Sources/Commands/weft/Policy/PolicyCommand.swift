import ArgumentParser
import ClusterAPI
import ClusterClient
import Netlink
import Policy

/// What is asked about NetworkPolicies.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Look into who may speak with whom.",
        subcommands: [ListPolicies.self, CheckPolicy.self, DiffPolicies.self, LogPolicy.self])
}

extension AnswerOptions {
    /// The cluster's objects, and the namespace that names without one are of.
    func readPolicies() throws -> (cluster: PolicyCluster, namespace: String) {
        try asking { session in (try await session.policies(), session.namespace) }
    }

    /// With what is to be said of the mesh's own policies.
    func readAllPolicies() throws -> (cluster: PolicyCluster, ends: PolicyEnds, remarks: [MeshPolicyRemark]) {
        try asking { session in
            let ends = PolicyEnds(
                pods: try await session.client.list(.pods).items,
                replicaSets: try await session.listIfAllowed(.replicaSets),
                services: try await session.client.list(.services).items, namespace: session.namespace)
            return (try await session.policies(), ends, try await session.meshPolicyRemarks())
        }
    }
}

extension ClusterSession {
    func policies() async throws -> PolicyCluster {
        PolicyCluster(
            policies: try await client.list(.networkPolicies).items,
            namespaces: try await client.list(.namespaces).items, pods: try await client.list(.pods).items,
            nodes: try await client.list(.nodes).items, services: try await client.list(.services).items)
    }
}

/// Nodes whose kernel can be looked into from here: those of `weft up`, or the one that is named.
struct ReachableNodes: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A node's network namespace to look into.",
            discussion: "Default: all nodes of a cluster of weft up on this machine; else this machine itself."))
    var netns: String?

    /// Names, and namespaces.
    func open(_ access: APIAccess) throws -> [(name: String, namespace: NamespaceHandle)] {
        if let netns { return [(netns, try NamespaceHandle.open(netns))] }
        if let record = try access.record() {
            return try record.nodes.map { ($0.name, try NamespaceHandle.open(record.namespacePath($0))) }
        }
        return [("this machine", try NamespaceHandle.current())]
    }
}
