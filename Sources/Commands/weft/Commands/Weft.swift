import ArgumentParser
import Glibc

/// The program that a person types.
struct Weft: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weft", abstract: "Kubernetes networking, and a small cluster around it.",
        version: "v1.36.0+weft",
        subcommands: [
            Up.self, Status.self, WhyCommand.self, TapCommand.self, ProxyCommand.self, RouteCommand.self,
            PolicyCommand.self,
            Service.self, Down.self,
            Version.self, Supervise.self,
        ])
}

/// Where a cluster is kept; every command takes it.
struct ClusterFolder: ParsableArguments {
    @Option(name: .customLong("dir"), help: "The folder that holds the cluster and all that belongs to it.")
    var path = ClusterFolder.standard

    static let standard = "/var/lib/weft/cluster"

    /// Absolute, without a slash at its end.
    var absolute: String {
        var parts: [Substring] = []
        let full = path.hasPrefix("/") ? path : currentDirectory() + "/" + path
        for part in full.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")
    func run() { print(Weft.configuration.version) }
}
