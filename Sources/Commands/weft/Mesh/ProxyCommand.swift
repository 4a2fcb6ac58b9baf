import ArgumentParser

/// What is asked about proxies: sidecars and gateways.
struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy", abstract: "Look into the proxies of the mesh.",
        subcommands: [ProxyStatusCommand.self, ProxyConfigCommand.self, ProxyLogCommand.self, ProxyExplainCommand.self])
}
