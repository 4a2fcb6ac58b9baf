import ArgumentParser
import Bytes
import ClusterAPI
import JSON
import Netlink
import Policy
import Reactor
import YAML

struct DiffPolicies: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "What would change if these policies were applied: pairs of pods, and open connections.",
        discussion: """
            Every pod that a policy in the file selects is asked about, with every other pod and with the world, on the ports that \
            containers tell of and that policies name. Connections that are open now are read from the nodes that can be reached \
            from here; which they are is said.

            Exit status: 0 nothing changes; 1 something does; 3 it cannot be told.
            """)

    @Option(name: [.customShort("f"), .customLong("filename")], help: "Manifests; other kinds in it are passed by.")
    var files: [String] = []

    @Option(name: .customLong("remove"), help: "[NAMESPACE/]NAME of a policy that would be deleted.")
    var removed: [String] = []

    @Option(help: "Pairs that are printed; 0 for all. All are counted.")
    var limit = 200

    @OptionGroup var options: AnswerOptions
    @OptionGroup var nodes: ReachableNodes

    func validate() throws {
        guard !files.isEmpty || !removed.isEmpty else { throw ValidationError("-f FILE says what would be applied") }
    }

    func run() throws {
        try options.answering {
            let (cluster, namespace) = try options.readPolicies()
            let names = Set(removed.map { Self.key($0, namespace) })
            let difference = PolicyDifference(
                cluster, set: try files.flatMap { try Self.policies($0, namespace) }, removed: names)
            let changes = difference.changes()
            let open = try openConnections(cluster, difference)
            let document: JSONValue = [
                "pairs": .array(changes.map { Self.document($0, cluster) }),
                "connections": .array(open.found.map { Self.document($0.change, cluster, port: $0.sourcePort) }),
                "nodesRead": .array(open.read.map { .string($0) }),
                "nodesNotRead": .array(open.unread.map { .string($0) }),
            ]
            try options.show(document) { lines(changes, open, cluster) }
            if !changes.isEmpty || !open.found.isEmpty { throw ExitCode(1) }
        }
    }

    // MARK: The file

    private static func policies(_ file: String, _ namespace: String) throws -> [NetworkPolicySpec] {
        let text = try Files.readText(file == "-" ? "/dev/stdin" : file, limit: 16 << 20)
        var found: [NetworkPolicySpec] = []
        for document in try YAML.parseAll(text) {
            let objects =
                document["kind"]?.string?.hasSuffix("List") == true ? document["items"]?.array ?? [] : [document]
            for json in objects where json["kind"]?.string == "NetworkPolicy" {
                var object = KubeObject(json: json)
                if object.namespace.isEmpty { object.namespace = namespace }
                found.append(NetworkPolicySpec(object))
            }
        }
        guard !found.isEmpty else { throw Refusal("\(file) has no NetworkPolicy", hint: "nothing to compare") }
        return found
    }

    private static func key(_ text: String, _ namespace: String) -> ObjectKey {
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        return parts.count == 2
            ? ObjectKey(namespace: parts[0], name: parts[1]) : ObjectKey(namespace: namespace, name: text)
    }

    // MARK: Connections

    private struct Open {
        var found: [(change: PolicyDifference.Change, sourcePort: Port)] = []
        var read: [String] = []
        var unread: [String] = []
    }

    /// Connections that are open, as the nodes' kernels track them; one that two nodes see counts once.
    private func openConnections(_ cluster: PolicyCluster, _ difference: PolicyDifference) throws -> Open {
        var open = Open()
        var seen: Set<ConntrackTuple> = []
        for (name, namespace) in try nodes.open(options.access) {
            do {
                let conntrack = try ConntrackConnection(namespace: namespace.descriptor)
                for family in [IPAddress.Family.v4, .v6] {
                    for flow in try conntrack.flows(ConntrackFilter(family)) where flow.isOpen {
                        // The server as it is behind a Service's address.
                        let (client, server) = (flow.original.source, flow.reply.source)
                        guard let transport = Transport(rawValue: flow.original.transport),
                            seen.insert(
                                ConntrackTuple(
                                    from: client, flow.original.sourcePort, to: server, flow.reply.sourcePort,
                                    transport: transport)
                            ).inserted,
                            let change = difference.change(
                                from: cluster.party(at: client), to: cluster.party(at: server),
                                .init(transport, flow.reply.sourcePort))
                        else { continue }
                        open.found.append((change, flow.original.sourcePort))
                    }
                }
                open.read.append(name)
            } catch {
                open.unread.append("\(name): \(error)")
            }
        }
        return open
    }

    // MARK: For people

    private func lines(_ changes: [PolicyDifference.Change], _ open: Open, _ cluster: PolicyCluster) -> [String] {
        var lines: [String] = []
        let closed = changes.count { !$0.after.isAllowed }
        lines.append("\(closed) ways would close and \(changes.count - closed) would open")
        let shown = limit == 0 ? changes[...] : changes.prefix(limit)
        lines += shown.map { "  " + line($0, cluster) }
        if shown.count < changes.count { lines.append("  … and \(changes.count - shown.count) more (--limit 0)") }
        let cut = open.found.count { !$0.change.after.isAllowed }
        lines.append("\(cut) open connections would be cut (\(open.read.joined(separator: ", ")))")
        for (change, port) in open.found where !change.after.isAllowed {
            lines.append("  " + line(change, cluster, from: port))
        }
        lines += open.unread.map { "connections not read of \($0)" }
        if open.read == ["this machine"] {
            lines.append("connections of other nodes are not seen from here; run it there, or say --netns")
        }
        return lines
    }

    private func line(_ change: PolicyDifference.Change, _ cluster: PolicyCluster, from port: Port? = nil) -> String {
        let from = Self.name(change.client, cluster) + (port.map { ":\($0)" } ?? "")
        let to = Self.name(change.server, cluster)
        let wide = options.output == .wide ? " (\(change.client.address) -> \(change.server.address))" : ""
        let end = change.after.egress.isDenied ? change.after.egress : change.after.ingress
        let why = change.after.isAllowed ? "" : ": \(end.policies.map { "\($0)" }.joined(separator: ", "))"
        return "\(change.after.isAllowed ? "+" : "-") \(from) -> \(to) \(change.traffic)\(wide)\(why)"
    }

    private static func name(_ party: PolicyEvaluator.Party, _ cluster: PolicyCluster) -> String {
        if case .address(let address) = party, PolicyDifference.outside.contains(address) { return "the world" }
        return cluster.name(of: party)
    }

    private static func document(_ change: PolicyDifference.Change, _ cluster: PolicyCluster, port: Port? = nil)
        -> JSONValue
    {
        var object: JSONValue = [
            "from": .string(name(change.client, cluster)), "fromAddress": .string("\(change.client.address)"),
            "to": .string(name(change.server, cluster)), "toAddress": .string("\(change.server.address)"),
            "protocol": .string(change.traffic.transport.map { "\($0)" } ?? ""),
            "port": .int(Int64(change.traffic.port.rawValue)),
            "before": .string(change.before.isAllowed ? "allowed" : "denied"),
            "after": .string(change.after.isAllowed ? "allowed" : "denied"),
        ]
        if let port { object["fromPort"] = .int(Int64(port.rawValue)) }
        return object
    }
}
