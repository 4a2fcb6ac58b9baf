import Bytes
import Glibc

/// One program of a cluster: what runs, where, and under which name its log and process id are kept.
struct Program: Sendable {
    var name: String
    var arguments: [String]
    /// A file without which it has nothing to do yet.
    var needs: String?
    /// Path of the network namespace that it runs in; nil for this machine's.
    var namespace: String?
}

/// The command lines of a cluster's programs.
enum Programs {
    static let control = "weft-control"
    static let node = "weft-node"

    /// Beside this very program.
    static func path(_ name: String) -> String { "\(directory)/\(name)" }

    static let directory: String = {
        guard let resolved = realpath("/proc/self/exe", nil) else { return "/usr/local/bin" }
        defer { free(resolved) }
        return String(cString: resolved).split(separator: "/").dropLast().map { "/" + $0 }.joined()
    }()

    static func all(_ record: ClusterRecord) -> [Program] {
        [controlPlane(record)] + record.nodes.map { agent(record, $0) }
    }

    private static func controlPlane(_ record: ClusterRecord) -> Program {
        Program(
            name: "control",
            arguments: [
                path(control), "--data-dir", record.controlDirectory, "--listen", record.endpoint,
                "--advertise-address",
                record.gateway.description, "--service-cluster-ip-range", ClusterRecord.serviceCIDR, "--cluster-cidr",
                ClusterRecord.podCIDR, "--kubeconfig-out", record.kubeconfig,
            ])
    }

    /// Makes the node's own credentials, by the control plane's authority. Runs once and ends.
    static func issueCredentials(_ record: ClusterRecord, _ node: ClusterRecord.Node) -> [String] {
        [
            path(control), "issue-node-kubeconfig", "--name", node.name, "--data-dir", record.controlDirectory,
            "--server",
            "https://\(record.endpoint)", "--out", record.kubeconfig(node),
        ]
    }

    private static func agent(_ record: ClusterRecord, _ node: ClusterRecord.Node) -> Program {
        let directory = record.nodeDirectory(node)
        return Program(
            name: node.name,
            arguments: [
                path(Programs.node), "--kubeconfig", record.kubeconfig(node), "--node-name", node.name, "--node-ip",
                node.address.description, "--state-dir", directory + "/state", "--run-dir", directory + "/run",
                "--log-dir", directory + "/log", "--cgroup-root", "\(record.controlGroup)/\(node.name)",
                "--cluster-dns",
                ClusterRecord.dnsAddress, "--cluster-cidr", ClusterRecord.podCIDR, "--hidden-paths", record.directory,
            ], needs: record.kubeconfig(node), namespace: record.namespacePath(node))
    }
}
