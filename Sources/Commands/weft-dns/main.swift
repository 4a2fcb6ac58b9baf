// weft-dns: the cluster's name server, with CoreDNS's flags and Corefile.

import ClusterClient
import ClusterDNS
import Flags
import Glibc
import HTTP
import JSON
import Reactor
import Telemetry

let options: DNSOptions
do {
    options = try DNSOptions(CommandLine.arguments.dropFirst())
} catch {
    say("weft-dns: \(error)\n\(DNSOptions.usage)", to: STDERR_FILENO)
    exit(2)
}
if options.wantsHelp {
    say(DNSOptions.usage)
    exit(0)
}
if options.wantsVersion {
    say("weft-dns 0.1.0\n")
    exit(0)
}
exit(runOnLoops(threads: options.loops) { group in try await DNSProgram(options, group).run() })
