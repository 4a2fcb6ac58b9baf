// What a request costs the proxy that carries it, and what a proxy costs that carries none: weft-proxy, Envoy, HAProxy and nginx
// in one run, one worker each, alternating, in front of the same nginx, which is not counted.

import Glibc
import Reactor

if CommandLine.arguments.dropFirst().first == "soak" {
    do {
        let options = try SoakOptions(CommandLine.arguments.dropFirst(2))
        exit(runOnLoops(threads: 2) { group in try await Soak(options, group).run() })
    } catch {
        print("\(error)\n\n\(SoakOptions.usage)")
        exit(2)
    }
}

let measuresHop = CommandLine.arguments.dropFirst().first == "hop"
let options: Options
do { options = try Options(CommandLine.arguments.dropFirst(measuresHop ? 2 : 1)) } catch {
    print("\(error)\n\n\(Options.usage)")
    exit(2)
}
if options.wantsHelp {
    print(Options.usage)
    exit(0)
}
if measuresHop { exit(runOnLoops(threads: 2) { group in try await MeshHop(options, group).run() }) }
exit(runOnLoops(threads: 2) { group in try await Comparison(options, group).run() })
