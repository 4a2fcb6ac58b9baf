// weft-proxy: the sidecar's and gateway's data plane, with Envoy's flags and configuration.

import Glibc
import Reactor

let options: ProxyOptions
do {
    options = try ProxyOptions(CommandLine.arguments.dropFirst())
} catch {
    ProxyOptions.say("weft-proxy: \(error)\n\(ProxyOptions.usage)", to: STDERR_FILENO)
    exit(2)
}
if options.wantsHelp {
    ProxyOptions.say(ProxyOptions.usage)
    exit(0)
}
if options.wantsVersion {
    ProxyOptions.say("weft-proxy 0.1.0\n")
    exit(0)
}
if options.mode == .validate {
    exit(ProxyProgram.validate(options))
}
exit(runOnLoops(threads: 1) { group in try await ProxyProgram(options, group).run() })
