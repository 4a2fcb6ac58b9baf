import Bytes
import Glibc
import Reactor

/// What a hop through two sidecars adds: plain to the first, mutual TLS with SPIFFE names between them, plain to the server. The same
/// configuration for weft-proxy and Envoy; direct requests in the same turns are what both are compared with.
struct MeshHop: Sendable {
    private let options: Options
    private let group: EventLoopGroup
    private var loop: EventLoop { group.all[0] }

    private static let scenario = Scenario(
        name: "a hop through two sidecars", face: .http, path: "/1k", load: .wrk(connections: 16, once: false),
        rate: 1000)

    init(_ options: Options, _ group: EventLoopGroup) { (self.options, self.group) = (options, group) }

    /// The sidecars of one make.
    private struct Pair {
        var name: String
        var port: UInt16
        var processes: [RunningProcess]
        var latencies: [Latency] = []
        /// Microseconds of both processes a request.
        var cpu: [Double] = []
    }

    func run() async throws {
        let folder = "\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/bench-hop-\(getpid())"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try await Self.makeCertificates(folder, on: loop)
        let port = try await freePort(on: loop)
        let backend = try await Backend.start(folder, port, on: loop)
        var pairs = [Pair(name: "direct", port: port, processes: [])]
        for peer in [Contestant.weft, .envoy] where options.peers.contains(peer) {
            guard let path = options.path(of: peer) else {
                print("# \(peer.rawValue) is not installed and left out")
                continue
            }
            pairs.append(try await start(peer, path, folder, backend: port))
        }
        for _ in 0..<options.rounds {
            for index in pairs.indices {
                let before = try pairs[index].processes.map { try $0.cpu }.reduce(0, +)
                let load = PacedLoad(scenario: Self.scenario, port: pairs[index].port, loop: group.all[1])
                let values = try await load.run(seconds: options.seconds)
                let after = try pairs[index].processes.map { try $0.cpu }.reduce(0, +)
                pairs[index].latencies.append(Latency(values))
                pairs[index].cpu.append((after - before) / Double(max(1, values.count)))
            }
        }
        for line in try table(pairs) { print(line) }
        for process in pairs.flatMap(\.processes) { await process.stop() }
        await backend.stop()
    }

    private func start(_ peer: Contestant, _ path: String, _ folder: String, backend: UInt16) async throws -> Pair {
        let (outbound, inbound) = (try await freePort(on: loop), try await freePort(on: loop))
        var processes: [RunningProcess] = []
        for (side, port) in [(Side.inbound(backend: backend), inbound), (.outbound(to: inbound), outbound)] {
            let file = "\(folder)/\(peer.rawValue)-\(side.name).json"
            try Files.writeAtomically(file, side.config(port, folder))
            processes.append(
                try await RunningProcess.start(
                    peer.command(path, file, folder), port: port, folder: folder, name: "\(peer.rawValue)-\(side.name)",
                    on: loop))
        }
        return Pair(name: peer.rawValue, port: outbound, processes: processes)
    }

    private func table(_ pairs: [Pair]) throws -> [String] {
        func p50(_ pair: Pair) -> Double { median(pair.latencies.map(\.p50)) }
        func p99(_ pair: Pair) -> Double { median(pair.latencies.map(\.p99)) }
        var lines = [
            "# \(Self.scenario.rate) requests/s of 1 KB, \(options.rounds) rounds of \(options.seconds) s, alternating",
            pad("", 12) + pad("p50 us", 10) + pad("added", 10) + pad("p99 us", 10) + pad("added", 10)
                + pad("CPU us/req", 12)
                + "RSS MB, both",
        ]
        for pair in pairs {
            let memory = try pair.processes.map { try $0.resident.all }.reduce(0, +)
            lines.append(
                pad(pair.name, 12) + pad(rounded(p50(pair)), 10) + pad(rounded(max(0, p50(pair) - p50(pairs[0]))), 10)
                    + pad(rounded(p99(pair)), 10) + pad(rounded(max(0, p99(pair) - p99(pairs[0]))), 10)
                    + pad(rounded(median(pair.cpu)), 12) + rounded(Double(memory) / 1024))
        }
        if let weft = pairs.first(where: { $0.name == "weft" }), let envoy = pairs.first(where: { $0.name == "envoy" })
        {
            let ratio = (p50(weft) - p50(pairs[0])) / max(1, p50(envoy) - p50(pairs[0]))
            lines.append("# added to p50, weft / envoy: \(rounded(ratio))")
        }
        return lines
    }

    /// An authority, and for each side a certificate with the name of a service account.
    private static func makeCertificates(_ folder: String, on loop: EventLoop) async throws {
        let script = """
            set -e; cd \(folder)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=mesh
            for side in inbound outbound; do
              openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $side.key -out $side.csr -subj /
              printf 'subjectAltName=critical,URI:spiffe://cluster.local/ns/shop/sa/%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' $side > $side.ext
              openssl x509 -req -in $side.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile $side.ext -out $side.pem
            done
            """
        let output = try await ChildProcess.run(.init(["sh", "-c", script]), on: loop)
        guard output.status.isSuccess else { throw OptionError("openssl: \(output.errorText)") }
    }
}

/// Which of the two sidecars, and what is behind it.
private enum Side {
    case inbound(backend: UInt16)
    case outbound(to: UInt16)

    var name: String { if case .inbound = self { "inbound" } else { "outbound" } }

    private static let types = "type.googleapis.com/envoy.extensions."

    func config(_ port: UInt16, _ folder: String) -> String {
        let behind: UInt16
        let (down, up): (String, String)
        switch self {
        case .inbound(let backend):
            behind = backend
            down =
                #""transport_socket": \#(socket("Downstream", peer: "outbound", folder, #""require_client_certificate": true,"#)),"#
            up = ""
        case .outbound(let to):
            behind = to
            down = ""
            up = #""transport_socket": \#(socket("Upstream", peer: "inbound", folder, "")),"#
        }
        return """
            {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
             "static_resources": {
              "listeners": [{
                "name": "hop", "address": {"socket_address": {"address": "127.0.0.1", "port_value": \(port)}},
                "filter_chains": [{\(down) "filters": [{"name": "http", "typed_config": {
                  "@type": "\(Self.types)filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "hop",
                  "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "behind"}}]}]},
                  "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "\(Self.types)filters.http.router.v3.Router"}}]}}]}]}],
              "clusters": [{"name": "behind", \(up) "load_assignment": {"cluster_name": "behind", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": \(behind)}}}}]}]}}]}}
            """
    }

    private func socket(_ direction: String, peer: String, _ folder: String, _ more: String) -> String {
        """
        {"name": "tls", "typed_config": {"@type": "\(Self.types)transport_sockets.tls.v3.\(direction)TlsContext", \(more)
          "common_tls_context": {"tls_certificates": [
            {"certificate_chain": {"filename": "\(folder)/\(name).pem"}, "private_key": {"filename": "\(folder)/\(name).key"}}],
          "validation_context": {"trusted_ca": {"filename": "\(folder)/ca.pem"}, "match_typed_subject_alt_names": [
            {"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/shop/sa/\(peer)"}}]}}}}
        """
    }
}
