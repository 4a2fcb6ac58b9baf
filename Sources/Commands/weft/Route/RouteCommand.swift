import ArgumentParser

/// What is asked and changed about routes.
struct RouteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route", abstract: "Look at HTTPRoutes of Services and Gateways, and move traffic.",
        subcommands: [
            ListRoutes.self, GetRoute.self, ShiftRoute.self, MirrorRoute.self, FaultRoute.self,
        ])
}
