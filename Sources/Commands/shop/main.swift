// The small HTTP service of the demo: says who answers, moves bytes at a chosen rate, and asks other services.

import Flags
import Glibc
import HTTP
import Reactor

let usage = """
    usage: shop [--listen ADDRESS] [--name NAME] [--version VERSION] [--failures PERCENT]
      --listen ADDRESS   host:port or :port to serve on (default :8080)
      --name NAME        what the service calls itself (default: shop)
      --version VERSION  which version of it this is, for the answer
      --failures PERCENT how many of a hundred requests for / are answered with 503 (default: 0)
    Answers
      /                      who answers, as JSON
      /healthz               ok
      /bytes?n=N&rate=R      N bytes, R of them a second (without rate: as fast as they are taken)
      /fetch?url=http://…    what that URL answers, asked from here; headers x-shop-… and of traces go along

    """

do {
    let options = try ShopOptions(CommandLine.arguments.dropFirst())
    if options.wantsHelp {
        say(usage)
        exit(0)
    }
    // One loop: the demo runs many of these, and each should weigh little.
    exit(
        runOnLoops(threads: 1) { group in
            let server = HTTPServer(
                group: group, address: options.listen, handler: Shop(options, loop: group.next))
            let bound = try await server.start()
            say("shop: \(options.name) answers on http://\(bound)\n")
            for await signal in try Signals.stream([SIGTERM, SIGINT], on: group.next) {
                say("shop: signal \(signal), finishing what is under way\n")
                break
            }
            await server.drain(deadline: .seconds(2))
        })
} catch {
    say("shop: \(error)\n\(usage)", to: STDERR_FILENO)
    exit(2)
}
