import ArgumentParser
import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Netlink
import Policy
import Reactor
import Synchronization
import YAML

/// What is asked about NetworkPolicies.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Look into who may speak with whom.",
        subcommands: [ListPolicies.self, CheckPolicy.self, DiffPolicies.self, LogPolicy.self])
}

/// How an answer is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case text, wide, json, yaml }

/// What each of the commands about policies takes.
struct PolicyOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "text, wide, json or yaml.")
    var output = OutputFormat.text

    @Option(name: .shortAndLong, help: "Of names without one. Default: the kubeconfig's.")
    var namespace: String?

    @OptionGroup var access: APIAccess

    /// Text by lines, or the document.
    func show(_ document: JSONValue, _ lines: () -> [String]) throws {
        switch output {
        case .text, .wide: for line in lines() { print(line) }
        case .json: print(document.pretty())
        case .yaml: print(try YAML.text(document), terminator: "")
        }
    }

    /// A question that could not be answered ends with 3, so that scripts tell it from "no".
    func answering(_ body: () throws -> Void) throws {
        do { try body() } catch let error as ExitCode { throw error } catch {
            let line = Array("error: \(error)\n".utf8)
            _ = write(STDERR_FILENO, line, line.count)
            throw ExitCode(3)
        }
    }

    // MARK: What is read

    /// How long the server may take.
    private static let patience: Duration = .seconds(30)

    /// The cluster's objects, and the namespace that names without one are of.
    func read() throws -> (cluster: PolicyCluster, namespace: String) {
        let config = try access.load()
        let result = Mutex<Result<PolicyCluster, any Error>?>(nil)
        _ = runOnLoops(threads: 1) { group in
            let loop = group.all[0]
            let answer: Result<PolicyCluster, any Error>
            do {
                let client = KubeClient(try HTTPTransport(config, on: loop, userAgent: "weft"))
                answer = .success(
                    try await withTimeout(Self.patience, on: loop) {
                        PolicyCluster(
                            policies: try await client.list(.networkPolicies).items,
                            namespaces: try await client.list(.namespaces).items,
                            pods: try await client.list(.pods).items, nodes: try await client.list(.nodes).items,
                            services: try await client.list(.services).items)
                    })
            } catch {
                answer = .failure(Refusal("\(config.server): \(error)", hint: "objects could not be read"))
            }
            result.withLock { $0 = answer }
        }
        guard let answer = result.withLock({ $0 }) else { throw Refusal("nothing was read", hint: config.server) }
        return (try answer.get(), namespace ?? (config.namespace.isEmpty ? "default" : config.namespace))
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
