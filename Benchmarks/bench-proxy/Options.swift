import Flags
import Glibc

/// What is measured, how long, and against whom.
struct Options: Sendable {
    var rounds = 3
    var seconds = 2
    /// Words; a scenario or a memory row whose name contains one of them is measured. All without any.
    var only: [String] = []
    var peers = Contestant.allCases
    var weftProxy = ".build/release/weft-proxy"
    var envoy: String?
    var clusters = 5000
    var connections = 8000
    var tlsConnections = 2000
    var wantsJSON = false
    var showsConfigs = false
    var wantsHelp = false

    static let usage = """
        usage: bench-proxy [--rounds 3] [--seconds 2] [--only WORD,...] [--peers weft,envoy,haproxy,nginx] [--json]
          --only WORD,...        rows whose name contains a word: keep-alive, connection, MB, HTTP/2, TLS, TCP, memory, start
          --weft-proxy PATH      default .build/release/weft-proxy
          --envoy PATH           default: the one that pip keeps in ~/.cache/weft
          --clusters N           clusters of ten endpoints in the rows about clusters (default 5000)
          --connections N        idle connections in the rows about connections (default 8000, with TLS 2000)
          --tls-connections N
          --show-configs         prints every configuration and ends
        bench-proxy hop [--rounds 3] [--seconds 2]  what two sidecars with mutual TLS between them add to a request
        bench-proxy soak --help  requests while backends are killed and the configuration is rewritten
        """

    init(_ arguments: some Sequence<String>) throws {
        var reader = FlagReader(arguments)
        let positive = 1...Int(UInt32.max)
        while let flag = try reader.nextName() {
            switch flag {
            case "--rounds": rounds = try reader.number(positive)
            case "--seconds": seconds = try reader.number(positive)
            case "--only": only = try reader.value().split(separator: ",").map(String.init)
            case "--peers":
                peers = try reader.value().split(separator: ",").map {
                    guard let peer = Contestant(rawValue: String($0)) else {
                        throw OptionError("no peer is called \($0)")
                    }
                    return peer
                }
            case "--weft-proxy": weftProxy = try reader.value()
            case "--envoy": envoy = try reader.value()
            case "--clusters": clusters = try reader.number(positive)
            case "--connections": connections = try reader.number(positive)
            case "--tls-connections": tlsConnections = try reader.number(positive)
            case "--json": wantsJSON = true
            case "--show-configs": showsConfigs = true
            case "--help", "-h": wantsHelp = true
            default: throw OptionError("unknown flag \(flag)")
            }
        }
    }

    func wants(_ name: String) -> Bool { only.isEmpty || only.contains { name.contains($0) } }

    /// Where a peer's program is; nil when it is not installed.
    func path(of peer: Contestant) -> String? {
        func found(_ candidates: [String]) -> String? { candidates.first { access($0, X_OK) == 0 } }
        switch peer {
        case .weft: return found([weftProxy])
        case .envoy:
            let home = getenv("HOME").map { String(cString: $0) } ?? ""
            return found([
                envoy ?? "\(home)/.cache/weft/envoy-1.40.0/envoy/_bin/envoy", "/usr/local/bin/envoy", "/usr/bin/envoy",
            ])
        case .haproxy: return found(["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"])
        case .nginx: return found(["/usr/sbin/nginx", "/usr/local/sbin/nginx"])
        }
    }
}

struct OptionError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
