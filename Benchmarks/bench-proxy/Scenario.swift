/// One row: how a proxy is configured, how it is loaded, and how its latency is measured.
struct Scenario: Sendable {
    enum Load: Sendable {
        /// wrk with so many connections; each may be used once only.
        case wrk(connections: Int, once: Bool)
        /// h2load with so many connections and streams.
        case h2load(connections: Int, streams: Int)
    }

    var name: String
    var face: Job.Face
    var path: String
    var load: Load
    /// Requests a second while latency is measured: what all peers bear with ease.
    var rate: Int

    static let all = [
        Scenario(
            name: "1 KB, keep-alive", face: .http, path: "/1k", load: .wrk(connections: 64, once: false), rate: 1000),
        Scenario(
            name: "1 KB, one connection a request", face: .http, path: "/1k", load: .wrk(connections: 64, once: true),
            rate: 500),
        Scenario(name: "1 MB body", face: .http, path: "/1m", load: .wrk(connections: 16, once: false), rate: 50),
        Scenario(
            name: "HTTP/2 down, HTTP/1 up", face: .http2, path: "/1k", load: .h2load(connections: 4, streams: 100),
            rate: 1000),
        Scenario(
            name: "TLS, keep-alive", face: .tls, path: "/1k", load: .wrk(connections: 64, once: false), rate: 1000),
        Scenario(
            name: "TLS, handshake each", face: .tlsWithoutResumption, path: "/1k",
            load: .wrk(connections: 64, once: true), rate: 200),
        Scenario(name: "TCP 1 KB", face: .tcp, path: "/1k", load: .wrk(connections: 64, once: false), rate: 1000),
        Scenario(name: "TCP 1 MB", face: .tcp, path: "/1m", load: .wrk(connections: 16, once: false), rate: 50),
    ]

    /// The load generator's command, for so many seconds.
    func command(_ port: UInt16, seconds: Int) -> [String] {
        let scheme = face == .tls || face == .tlsWithoutResumption ? "https" : "http"
        let url = "\(scheme)://127.0.0.1:\(port)\(path)"
        switch load {
        case .wrk(let connections, let once):
            return ["wrk", "-t1", "-c\(connections)", "-d\(seconds)s"] + (once ? ["-H", "Connection: close"] : []) + [
                url
            ]
        case .h2load(let connections, let streams):
            return ["h2load", "-t1", "-c\(connections)", "-m\(streams)", "-D\(seconds)", url]
        }
    }
}
