import Glibc
import Reactor

// What the mesh's control plane costs, and how soon it is obeyed. `bench-mesh --help` says how it is used.

raiseDescriptorLimit()
do {
    let options = Options(Array(CommandLine.arguments.dropFirst()))
    switch options.mode {
    case .fanout: try await FanOut(options: options).run()
    case .route:
        try RouteLab.enterOwnNetwork()
        try await RouteChange(options: options).run()
    case .sidecar:
        try RouteLab.enterOwnNetwork()
        try await SidecarMemory(options: options).run()
    case .fleet: try await ProxyFleet.run(Array(CommandLine.arguments.dropFirst(2)))
    }
} catch {
    note("\(error)")
    exit(1)
}
exit(0)
