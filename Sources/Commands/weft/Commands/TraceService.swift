import ArgumentParser
import Bytes
import ClusterAPI
import Glibc
import ServiceProxy

struct TraceService: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Explain what becomes of a packet to a Service: which endpoint, by which rule, and why.",
        usage: """
            weft service trace [--from pod NAMESPACE/NAME | --from node | --from external | --from-address ADDRESS] \
            [--node NODE] DESTINATION
            """,
        discussion: """
            DESTINATION is [NAMESPACE/]SERVICE[:PORT], ADDRESS[:PORT], or a node port. The answer is worked out from the \
            objects of the API server, as the service proxy of that node works them out; --live also follows the packet \
            through the table that the kernel has.

            Exit status: 0 the packet arrives at an endpoint; 1 it does not; 2 the kernel does something else than the API \
            wants; 3 it cannot be told.
            """)

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Who sends: pod NAMESPACE/NAME, node (a process of the node; the default), or external.",
            valueName: "sender"))
    var from: [String] = []

    @Option(help: "Who sends, by address.")
    var fromAddress: String?

    @Option(help: "The node that the packet meets. Default: the pod's, or the one that the addresses tell.")
    var node: String?

    @Option(name: .customLong("protocol"), help: "tcp, udp or sctp. Default: the Service's.")
    var transport: String?

    @Option(name: .shortAndLong, help: "Of names without one. Default: the kubeconfig's.")
    var namespace: String?

    @Option(name: .shortAndLong, help: "text, wide, json or yaml.")
    var output = OutputFormat.text

    @Flag(help: "Follow the packet through the kernel's own table, too. On the node itself.")
    var live = false

    @Option(
        help: "The node's network namespace, for --live. Default: this one, or the node's own in a cluster of weft up.")
    var netns: String?

    @Option(
        help: ArgumentHelp(
            "The KubeProxyConfiguration of the node's proxy.",
            discussion: "Default: ConfigMap kube-system/kube-proxy, and where there is none what weft-node does."))
    var config: String?

    @Option(help: "All pods of the cluster, with commas, where no configuration says. Default: 10.244.0.0/16.")
    var clusterCidr: String?

    @OptionGroup var access: APIAccess

    @Argument(help: "Where the packet goes.")
    var destination: String?

    /// How scripts tell the answers apart.
    private enum Status { static let lost: Int32 = 1, wrong: Int32 = 2, unknown: Int32 = 3 }

    func validate() throws {
        guard transport.map({ Transport($0.uppercased()) != nil }) ?? true else {
            throw ValidationError("--protocol must be tcp, udp or sctp")
        }
        guard fromAddress == nil || from.isEmpty else {
            throw ValidationError("--from and --from-address exclude each other")
        }
        guard netns == nil || live else { throw ValidationError("--netns goes with --live") }
        _ = try question(namespace: "")
    }

    func run() throws {
        let answer: TraceAnswer
        do { answer = try TraceAnswer(self) } catch {
            let line = Array("error: \(error)\n".utf8)
            _ = write(STDERR_FILENO, line, line.count)
            throw ExitCode(Status.unknown)
        }
        try output.show(answer.json) { answer.lines }
        if !answer.trace.isConsistent { throw ExitCode(Status.wrong) }
        if !answer.trace.arrives { throw ExitCode(Status.lost) }
    }

    /// The question as it was put. What follows a whole sender is the destination: `--from node shop/cart`.
    func question(namespace fallback: String) throws -> TraceQuestion {
        var words = from + (destination.map { [$0] } ?? [])
        let sender: TraceQuestion.Source
        if let fromAddress {
            guard let address = IPAddress(fromAddress) else {
                throw ValidationError("--from-address must be an address, not \"\(fromAddress)\"")
            }
            sender = .address(address)
        } else if from.isEmpty {
            sender = .node
        } else {
            switch words.removeFirst() {
            case "node": sender = .node
            case "external": sender = .external
            case "pod":
                guard !words.isEmpty else { throw ValidationError("--from pod: which one? NAMESPACE/NAME is missing") }
                sender = .pod(try podKey(words.removeFirst(), fallback))
            case let other:
                throw ValidationError("--from must be pod NAMESPACE/NAME, node or external, not \"\(other)\"")
            }
        }
        guard words.count == 1 else {
            throw ValidationError(
                words.isEmpty
                    ? "the destination is missing: [NAMESPACE/]SERVICE[:PORT], ADDRESS[:PORT], or a node port"
                    : "one destination, not \(words.joined(separator: " and "))")
        }
        return TraceQuestion(
            sender, to: words[0], transport.flatMap { Transport($0.uppercased()) }, on: node,
            namespace: namespace ?? fallback)
    }

    private func podKey(_ text: String, _ fallback: String) throws -> ObjectKey {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("--from pod: \"\(text)\" is not NAMESPACE/NAME")
        }
        return parts.count == 2
            ? ObjectKey(namespace: parts[0], name: parts[1])
            : ObjectKey(namespace: namespace ?? fallback, name: parts[0])
    }
}
