import ArgumentParser

/// The control plane in one process: store, API server, controllers, scheduler.
struct WeftControl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weft-control",
        abstract: "The control plane of a cluster: store, API server, controllers and scheduler in one process.",
        version: "weft-control v1.36.2+weft",
        subcommands: [Run.self, IssueNodeKubeconfig.self, IssueKubeconfig.self, RotateMeshRoot.self],
        defaultSubcommand: Run.self)
}

WeftControl.main()
