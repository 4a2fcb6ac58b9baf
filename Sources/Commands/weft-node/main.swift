// Everything that a node runs: its pods, their network, and the services' rules.

import ArgumentParser
import Glibc
import Reactor
import Telemetry

/// What the flags and the config file ask for; see docs/node.md.
struct WeftNode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weft-node",
        abstract: "Runs a Kubernetes node: pods through crun, pod network, service proxy.",
        version: NodeDaemon.version)

    @OptionGroup var flags: NodeFlags

    func run() throws {
        let settings = try NodeSettings(flags.config)
        let serviceProxy = try ServiceProxyOptions(flags, settings)
        if try ServiceProxyErrands.run(flags.kubeProxy, serviceProxy) { return }
        let options = try NodeOptions(flags, settings, serviceProxy)
        // One loop for what is cool; the pod network has its own.
        let status = runOnLoops(threads: 1) { group in
            try await NodeDaemon(options, group: group).run()
        }
        if status != 0 { throw ExitCode(status) }
    }
}

do {
    WeftNode.main(try GoCommandLine.normalized(Array(CommandLine.arguments.dropFirst())))
} catch {
    WeftNode.exit(withError: ValidationError("\(error)"))
}
