import ArgumentParser
import Bytes
import Glibc
import Reactor

struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a cluster up on this machine and wait until all its nodes are Ready.",
        discussion: """
            Each node is a network namespace on a bridge of this machine. Everything is kept under --dir; several clusters \
            may stand side by side, each with a --dir of its own. `weft down` takes one away.
            """)

    @OptionGroup var folder: ClusterFolder

    @Option(help: "How many nodes.")
    var nodes = 3

    @Option(help: "The nodes' network, a /24; the default is the first free 172.30.N.0/24.")
    var subnet: String?

    @Option(help: "The API server's port on the bridge; the default is 6443 or the next free one.")
    var port: UInt16?

    @Option(help: "Seconds until the cluster must be Ready.")
    var timeout = 60

    @Flag(help: "Without the cluster's DNS.")
    var withoutDNS = false

    @Option(help: "Of a cluster that is up, start this program again if it does not run: control, or a node's name.")
    var restart: String?

    /// An address has eight bits for the node, and the first ten are the control plane's.
    static let maximumNodes = 200

    func validate() throws {
        guard (1...Self.maximumNodes).contains(nodes) else {
            throw ValidationError("--nodes must be 1 to \(Self.maximumNodes)")
        }
        if let subnet {
            guard let parsed = CIDR(subnet), parsed.address.family == .v4, parsed.prefixLength == 24 else {
                throw ValidationError("--subnet \(subnet): expected an IPv4 /24 such as 172.30.7.0/24")
            }
        }
    }

    func run() throws {
        if let restart { return try Restart(restart, folder.absolute).run() }
        let wish = ClusterWish(
            directory: folder.absolute, nodes: nodes, subnet: subnet.flatMap { CIDR($0)?.network }, port: port,
            timeout: .seconds(timeout), withDNS: !withoutDNS)
        let status = runOnLoops(threads: 1) { group in
            try await Launch(wish, on: group.all[0]).run()
        }
        if status != 0 { throw ExitCode(status) }
    }
}
