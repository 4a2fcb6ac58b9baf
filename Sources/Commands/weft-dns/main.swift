// weft-dns: the cluster's name server, with CoreDNS's flags and Corefile.

import ClusterClient
import ClusterDNS
import Glibc
import HTTP
import JSON
import Reactor
import Telemetry

let options: DNSOptions
do {
    options = try DNSOptions(CommandLine.arguments.dropFirst())
} catch {
    DNSOptions.say("weft-dns: \(error)\n\(DNSOptions.usage)", to: STDERR_FILENO)
    exit(2)
}
if options.wantsHelp {
    DNSOptions.say(DNSOptions.usage)
    exit(0)
}
if options.wantsVersion {
    DNSOptions.say("weft-dns 0.1.0\n")
    exit(0)
}
exit(runOnLoops(threads: options.loops) { group in try await DNSProgram(options, group).run() })
