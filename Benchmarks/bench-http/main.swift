// The cost of one trivial HTTP/1.1 answer: on Reactor alone, through both faces of the HTTP server, and from nginx's
// `return 200`, in the same run, alternating.
//
//     bench-http [--rounds 3] [--seconds 4] [--connections 64] [--loops 1] [--json]
//     bench-http serve reactor|hot|cool --port 8080 [--loops 1]

import Bytes
import Glibc
import Reactor

let options = Options(CommandLine.arguments.dropFirst())
if options.words.first == "serve" {
    exit(serve(options))
} else {
    exit(runOnLoops(threads: 1) { group in try await Comparison(options, on: group.all[0]).run() })
}

func serve(_ options: Options) -> CInt {
    let kind = options.words.dropFirst().first ?? "reactor"
    let address = SocketAddress.ip(.loopbackV4, Port(UInt16(clamping: options.number("port", 8080))))
    return runOnLoops(threads: options.number("loops", 1)) { group in
        if let responder = HTTPServerResponder(rawValue: kind) {
            let server = try await responder.start(group, address)
            for await _ in try Signals.stream([SIGTERM, SIGINT], on: group.all[0]) { break }
            await server.drain(deadline: .seconds(1))
        } else {
            var listener = ListenerOptions()
            listener.reusePort = true
            var listeners: [Listener] = []
            for loop in group.all {
                listeners.append(
                    try await loop.perform { [listener] in
                        let answer = Answer()
                        return try Listener(address, on: loop, options: listener) {
                            $0.handler = ReactorResponder(answer)
                        }
                    })
            }
            for await _ in try Signals.stream([SIGTERM, SIGINT], on: group.all[0]) { break }
            for listener in listeners { listener.close() }
        }
    }
}
