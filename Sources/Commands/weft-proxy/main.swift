// weft-proxy: the sidecar's and gateway's data plane, with Envoy's flags and configuration.

import Flags
import Glibc
import Reactor

if CommandLine.arguments.dropFirst().first == "explain" {
    do {
        let command = try ExplainCommand(CommandLine.arguments.dropFirst(2))
        if command.wantsHelp {
            say(ExplainCommand.usage)
            exit(0)
        }
        let found = Promise<CInt>()
        let status = runOnLoops(threads: 1) { group in found.succeed(try await command.run(on: group.all[0])) }
        if case .success(let code)? = found.result { exit(code) }
        exit(status)
    } catch {
        say("weft-proxy: \(error)\n\(ExplainCommand.usage)", to: STDERR_FILENO)
        exit(2)
    }
}
let options: ProxyOptions
do {
    options = try ProxyOptions(CommandLine.arguments.dropFirst())
} catch {
    say("weft-proxy: \(error)\n\(ProxyOptions.usage)", to: STDERR_FILENO)
    exit(2)
}
if options.wantsHelp {
    say(ProxyOptions.usage)
    exit(0)
}
if options.wantsVersion {
    say("weft-proxy 0.1.0\n")
    exit(0)
}
if options.wantsHotRestartVersion {
    say("disabled\n")
    exit(0)
}
if options.mode == .validate {
    exit(ProxyProgram.validate(options))
}
exit(runOnLoops(threads: 1) { group in try await ProxyProgram(options, group).run() })
