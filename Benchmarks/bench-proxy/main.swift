// What a request costs the proxy that carries it, and what a proxy costs that carries none: weft-proxy, Envoy, HAProxy and nginx
// in one run, one worker each, alternating, in front of the same nginx, which is not counted.

import Glibc
import Reactor

let options: Options
do { options = try Options(CommandLine.arguments.dropFirst()) } catch {
    print("\(error)\n\n\(Options.usage)")
    exit(2)
}
if options.wantsHelp {
    print(Options.usage)
    exit(0)
}
exit(runOnLoops(threads: 2) { group in try await Comparison(options, group).run() })
