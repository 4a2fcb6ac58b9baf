// bench-cni: what it costs to give a pod its network, from the runtime's exec of the plugin to its answer: weft-cni with the
// daemon, weft-cni alone, and Debian's bridge + host-local. Same machine, same run, in turn; everything in namespaces of its own.
//
//   bench-cni [--pods N] [--rounds N] [--json]

import Glibc
import Reactor

let status = runOnLoops(threads: 1) { group in
    try await Comparison(Options(CommandLine.arguments), on: group.all[0]).run()
}
exit(status)
