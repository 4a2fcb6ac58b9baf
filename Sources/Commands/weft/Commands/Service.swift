import ArgumentParser

/// What is asked about Services.
struct Service: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into how packets find Services.", subcommands: [TraceService.self])
}
