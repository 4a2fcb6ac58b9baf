import Bytes
import Glibc
import Reactor

/// Runs every server in turn under each load, round by round, and prints one table of medians.
struct Comparison {
    private let options: Options
    private let loop: EventLoop

    init(_ options: Options, on loop: EventLoop) { (self.options, self.loop) = (options, loop) }

    func run() async throws {
        let folder = "/tmp/bench-tls-\(getpid())"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try Certificates.write(to: folder)
        let rounds = max(1, options.number("rounds", 3))
        let seconds = options.number("seconds", 3)
        let loads: [Load] = [
            .handshakes("ecdsa", resumed: false, seconds), .handshakes("rsa", resumed: false, seconds),
            .handshakes("ecdsa", resumed: true, seconds), .requests(options.number("connections", 32), seconds),
            .idle(options.number("idle", 1000)),
        ]
        say(
            "# \(rounds) rounds, alternating; one loop, worker or thread each; TLS 1.2 for handshakes (s_time), 1.3 else"
        )
        var measured: [String: [Double]] = [:]
        for round in 1...rounds {
            for load in loads {
                for server in Server.allCases {
                    let value = try await measure(server, load, folder)
                    measured["\(load.name)/\(server.rawValue)", default: []].append(value)
                    say("# round \(round) \(load.name), \(server.rawValue): \(rounded(value)) \(load.unit)")
                }
            }
        }
        say(pad("load", 40) + Server.allCases.map { pad($0.rawValue, 24) }.joined())
        for load in loads {
            let cells = Server.allCases.map { server -> String in
                let values = (measured["\(load.name)/\(server.rawValue)"] ?? []).sorted()
                guard let least = values.first, let most = values.last else { return "" }
                return pad("\(rounded(values[values.count / 2])) (\(rounded(least))-\(rounded(most)))", 24)
            }
            say(pad("\(load.name), \(load.unit)", 40) + cells.joined())
        }
    }

    private func measure(_ server: Server, _ load: Load, _ folder: String) async throws -> Double {
        let port = try freePort()
        var configuration = try server.command(port, folder, key: load.key)
        configuration.deathSignal = SIGKILL
        let child = try ChildProcess(configuration, on: loop)
        do {
            try await awaitService(port)
            let value = try await load.run(port, child.processID, on: loop)
            child.kill(SIGKILL)
            _ = try await child.exitStatus
            return value
        } catch {
            child.kill(SIGKILL)
            throw error
        }
    }

    private func freePort() throws -> UInt16 {
        let probe = try Listener(.ip(.loopbackV4, 0), on: loop) { _ in }
        defer { probe.close() }
        return probe.address.port?.rawValue ?? 0
    }

    private func awaitService(_ port: UInt16) async throws {
        let deadline = MonotonicTime.now().adding(.seconds(10))
        while true {
            do {
                return try await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop).close()
            } catch {
                guard MonotonicTime.now() < deadline else { throw error }
                try await loop.sleep(for: .milliseconds(20))
            }
        }
    }
}

/// A server to measure.
enum Server: String, CaseIterable {
    case weft, nginx, haproxy

    func command(_ port: UInt16, _ folder: String, key: String) throws -> ChildProcess.Configuration {
        switch self {
        case .weft:
            return .init(["/proc/self/exe", "serve", "--port", "\(port)", "--folder", folder])
        case .nginx:
            let file = "\(folder)/nginx.conf"
            let certificates = Certificates.names.map {
                "ssl_certificate \(folder)/\($0).pem; ssl_certificate_key \(folder)/\($0).key;"
            }
            try Files.writeAtomically(
                file,
                """
                daemon off; master_process off; pid \(folder)/pid; error_log \(folder)/error.log;
                events { worker_connections 8192; multi_accept on; }
                http {
                  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
                  client_body_temp_path \(folder)/a; proxy_temp_path \(folder)/b; fastcgi_temp_path \(folder)/c;
                  uwsgi_temp_path \(folder)/d; scgi_temp_path \(folder)/e; default_type text/plain;
                  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m; \(certificates.joined(separator: " "))
                  server { listen 127.0.0.1:\(port) ssl backlog=4096; location / { return 200 "hello, world\\n"; } }
                }
                """)
            return .init(["nginx", "-c", file, "-e", "\(folder)/error.log"])
        case .haproxy:
            let file = "\(folder)/haproxy.cfg"
            try Files.writeAtomically(
                file,
                """
                global
                  nbthread 1
                  maxconn 8192
                defaults
                  mode http
                  timeout client 600s
                  timeout http-keep-alive 600s
                  timeout connect 10s
                  timeout server 600s
                frontend f
                  bind 127.0.0.1:\(port) ssl crt \(folder)/\(key).both backlog 4096
                  http-request return status 200 content-type text/plain string "hello, world\\n"

                """)
            return .init(["haproxy", "-db", "-f", file])
        }
    }
}

/// What the servers are asked to do, and what of theirs is measured.
enum Load {
    /// A connection a request.
    case handshakes(String, resumed: Bool, Int)
    /// Kept connections.
    case requests(Int, Int)
    /// Connections that do nothing after one request.
    case idle(Int)

    var name: String {
        switch self {
        case .handshakes(let key, let resumed, _): "handshake, \(resumed ? "resumed" : key)"
        case .requests: "request, kept connection"
        case .idle: "idle connection"
        }
    }

    /// HAProxy shows a client that asks for no name its first certificate only.
    var key: String {
        if case .handshakes(let key, _, _) = self { key } else { "ecdsa" }
    }

    var unit: String {
        if case .idle = self { "kB" } else { "us CPU" }
    }

    func run(_ port: UInt16, _ server: Int32, on loop: EventLoop) async throws -> Double {
        switch self {
        case .handshakes(let key, let resumed, let seconds):
            let cipher = "ECDHE-\(key == "rsa" ? "RSA" : "ECDSA")-AES128-GCM-SHA256"
            let words = [
                "openssl", "s_time", "-connect", "127.0.0.1:\(port)", "-cipher", cipher, "-tls1_2",
                resumed ? "-reuse" : "-new",
                "-time", "\(seconds)",
            ]
            let before = try ProcessCost(of: server)
            let output = try await ChildProcess.run(.init(words), on: loop, timeout: .seconds(seconds + 30))
            let after = try ProcessCost(of: server)
            // "1234 connections in 3 real seconds, …" is the last of its kind.
            let line = output.text.split(separator: "\n").last { $0.contains("connections in") && $0.contains("real") }
            guard let count = line?.split(separator: " ").first.flatMap({ Double($0) }), count > 0 else {
                throw Unreadable(output: output.text + output.errorText)
            }
            return (after.cpuMicroseconds - before.cpuMicroseconds) / count
        case .requests(let connections, let seconds):
            let words = ["wrk", "-t1", "-c\(connections)", "-d\(seconds)s", "https://127.0.0.1:\(port)/"]
            let before = try ProcessCost(of: server)
            let output = try await ChildProcess.run(.init(words), on: loop, timeout: .seconds(seconds + 30))
            let after = try ProcessCost(of: server)
            let line = output.text.split(separator: "\n").first { $0.contains("requests in") }
            guard let count = line?.split(separator: " ").first.flatMap({ Double($0) }), count > 0 else {
                throw Unreadable(output: output.text + output.errorText)
            }
            return (after.cpuMicroseconds - before.cpuMicroseconds) / count
        case .idle(let count):
            return try await idle(count, port, server, on: loop)
        }
    }

    private func idle(_ count: Int, _ port: UInt16, _ server: Int32, on loop: EventLoop) async throws -> Double {
        let before = try ProcessCost(of: server).residentKilobytes
        var configuration = ChildProcess.Configuration([
            "/proc/self/exe", "idle", "--port", "\(port)", "--count", "\(count)",
        ])
        configuration.deathSignal = SIGKILL
        let (reading, writing) = try ChildProcess.makePipe()
        configuration.descriptors = [1: writing]
        let clients = try ChildProcess(configuration, on: loop)
        Glibc.close(writing)
        let said = try await StreamConnection.adopt(reading, on: loop)
        _ = try await withTimeout(.seconds(120), "idle connections", on: loop) { try await said.read() }
        let after = try ProcessCost(of: server).residentKilobytes
        clients.kill(SIGKILL)
        _ = try await clients.exitStatus
        return Double(after - before) / Double(count)
    }
}

struct Unreadable: Error, CustomStringConvertible {
    var output: String
    var description: String { "cannot read what the load printed:\n\(output)" }
}

/// What a process has used so far.
struct ProcessCost {
    var cpuMicroseconds = 0.0
    var residentKilobytes = 0

    init(of pid: Int32) throws {
        let stat = try Files.readText("/proc/\(pid)/stat")
        // The name in brackets may hold blanks; user and system time are the 12th and 13th words behind it.
        let words = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
        guard words.count > 22 else { return }
        let ticks = (Double(words[12]) ?? 0) + (Double(words[13]) ?? 0)
        cpuMicroseconds = ticks * 1e6 / Double(sysconf(CInt(_SC_CLK_TCK)))
        residentKilobytes = (Int(words[22]) ?? 0) * sysconf(CInt(_SC_PAGESIZE)) / 1024
    }
}

func rounded(_ value: Double) -> String { String(Double(Int(value * 100 + 0.5)) / 100) }

func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }

func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
}
