import APIServer
import ArgumentParser
import Bytes
import TLS

/// Writes a node's credentials.
struct IssueNodeKubeconfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue-node-kubeconfig",
        abstract: "Write a kubeconfig for a node agent: user system:node:NAME of group system:nodes.")

    @Option(help: "The node's name.")
    var name: String

    @OptionGroup var place: IssuePlace

    func run() throws {
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: "\"") }) else {
            throw ConfigurationError("--name: \"\(name)\" is no node's name")
        }
        try place.issue(user: "system:node:\(name)", groups: ["system:nodes"], serves: true)
    }
}

/// Writes anybody's credentials.
struct IssueKubeconfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue-kubeconfig", abstract: "Write a kubeconfig for a user, signed by the cluster's authority.")

    @Option(help: "The user's name.")
    var user: String

    @Option(help: "A group of the user; may be given several times.")
    var group: [String] = []

    @OptionGroup var place: IssuePlace

    func run() throws {
        guard !user.isEmpty, user.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: "\"") }) else {
            throw ConfigurationError("--user: \"\(user)\" is no user's name")
        }
        try place.issue(user: user, groups: group)
    }
}

/// From which cluster, and to where.
struct IssuePlace: ParsableArguments {
    @Option(help: "The control plane's data directory.")
    var dataDir = ControlSettings().dataDirectory

    @Option(help: "The API server's URL as the holder reaches it.")
    var server = "https://127.0.0.1:6443"

    @Option(name: .customLong("out"), help: "The file to write; standard output without it.")
    var out: String?

    @Option(help: "How long the certificate lives. weft-node renews its own before it ends.")
    var duration = "8760h"

    func issue(user: String, groups: [String], serves: Bool = false) throws {
        guard let lifetime = Duration(goText: duration), lifetime >= .seconds(1) else {
            throw ConfigurationError("--duration: expected a duration such as 24h, found \"\(duration)\"")
        }
        let credentials = try ClusterCredentials(existing: dataDir)
        let text = KubeconfigText.make(
            server: server, authority: credentials.authority.certificate, user: user,
            identity: try credentials.issue(
                user: user, groups: groups, serves: serves, lifetime: lifetime.components.seconds))
        if let out { try ClusterCredentials.write(out, text, isSecret: true) } else { print(text, terminator: "") }
    }
}
