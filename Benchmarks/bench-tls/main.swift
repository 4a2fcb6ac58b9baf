// The cost of TLS at the server: a full handshake, a resumed one, a request on a kept connection, and an idle connection's
// memory, beside nginx and HAProxy with the same certificates, in the same run, alternating.
//
//     bench-tls [--rounds 3] [--seconds 3] [--connections 32] [--idle 1000]
//     bench-tls serve --port 8443 --folder DIR
//     bench-tls idle --port 8443 --count 1000

import Glibc
import Reactor

let options = Options(CommandLine.arguments.dropFirst())
switch options.words.first {
case "serve": exit(TLSResponder.serve(options))
case "idle": exit(runOnLoops(threads: 1) { group in try await IdleClients(options).run(on: group.all[0]) })
default: exit(runOnLoops(threads: 1) { group in try await Comparison(options, on: group.all[0]).run() })
}
