import Glibc

/// What the program is asked to measure.
struct Options {
    enum Mode: String { case fanout, route, sidecar, fleet }

    var mode = Mode.fanout
    var isJSON = false
    var proxies: Int
    var services: Int
    var endpoints = 10
    var rounds: Int
    /// Also those that speak state of the world, which costs everybody more.
    var allForms = false
    /// The program that applies routes.
    var kubectl = "kubectl"
    /// Services that a sidecar calls.
    var calls = 5

    static let usage = """
        Usage: bench-mesh [fanout] [--json] [--proxies 1000] [--services 2000] [--endpoints 10] [--rounds 20] [--all-forms]
               bench-mesh route [--json] [--proxies 100] [--services 100] [--endpoints 10] [--rounds 40] [--kubectl PATH]

               bench-mesh sidecar [--json] [--services 2000] [--endpoints 10] [--calls 5]

        fanout: the control plane on its own API server, and simulated proxies in another process, each of which sees the whole mesh:
        how long one endpoint's change takes to reach all, and what it and a connected proxy cost; with TLS and in plain text,
        as delta and, if asked for, as state of the world.
        route: weft-control, and a weft-proxy with traffic beside simulated ones: from a route's change to the first request that
        obeys it, by kubectl apply and by PATCH. Needs root, kubectl, nft and ip; the programs are those beside this one.
        sidecar: weft-control, and a weft-proxy that calls some of the Services, once asking for them and once told of all: what it holds,
        and what the first call of a Service takes. Needs root, nft and ip.
        """

    init(_ arguments: [String]) {
        var rest = arguments[...]
        if let word = rest.first, let named = Mode(rawValue: word) {
            mode = named
            rest = rest.dropFirst()
        }
        (proxies, services, rounds) = mode == .route ? (100, 100, 40) : (1000, 2000, 20)
        // Of a fleet, which this program starts itself.
        guard mode != .fleet else { return }
        while let name = rest.popFirst() {
            func number(_ fallback: Int) -> Int { rest.popFirst().flatMap { Int($0) } ?? fallback }
            switch name {
            case "--json": isJSON = true
            case "--proxies": proxies = max(1, number(proxies))
            case "--services": services = max(3, number(services))
            case "--endpoints": endpoints = max(1, number(endpoints))
            case "--rounds": rounds = max(1, number(rounds))
            case "--all-forms": allForms = true
            case "--calls": calls = max(1, number(calls))
            case "--kubectl": kubectl = rest.popFirst() ?? kubectl
            case "--help", "-h":
                print(Self.usage)
                exit(0)
            default:
                print("bench-mesh: no such option: \(name)\n\(Self.usage)")
                exit(2)
            }
        }
    }
}
