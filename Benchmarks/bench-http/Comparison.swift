import Bytes
import Glibc
import Reactor

/// Runs every server in turn under the same load, round by round, and prints one table of medians.
struct Comparison {
    private let options: Options
    private let loop: EventLoop

    init(_ options: Options, on loop: EventLoop) { (self.options, self.loop) = (options, loop) }

    func run() async throws {
        let rounds = options.number("rounds", 3)
        let folder = "/tmp/bench-http-\(getpid())"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        let loops = options.number("loops", 1)
        let subjects =
            ["reactor", "hot", "cool"].map { Subject.weft($0, loops: loops) } + [.nginx(folder, workers: loops)]
        var measured: [[Measurement]] = subjects.map { _ in [] }
        let load = Load(seconds: options.number("seconds", 4), connections: options.number("connections", 64))
        say("# \(load.command("http://127.0.0.1:PORT/")); \(loops) loop(s) or worker(s); \(rounds) rounds, alternating")
        say("# nginx: \(Subject.nginxSettings(workers: loops))")
        for round in 1...max(1, rounds) {
            for (index, subject) in subjects.enumerated() {
                let measurement = try await measure(subject, load)
                measured[index].append(measurement)
                say("# round \(round) \(subject.name): \(measurement)")
            }
        }
        let rows = zip(subjects, measured).map { Row(name: $0.name, rounds: $1) }
        guard let nginx = rows.last else { return }
        if options.has("json") {
            say("[" + rows.map { $0.json(beside: nginx) }.joined(separator: ",") + "]")
        } else {
            say(Row.header)
            for row in rows { say(row.text(beside: nginx)) }
        }
    }

    private func measure(_ subject: Subject, _ load: Load) async throws -> Measurement {
        let port = try freePort()
        var configuration = try subject.command(port)
        configuration.deathSignal = SIGKILL
        let server = try ChildProcess(configuration, on: loop)
        do {
            try await awaitService(port)
            _ = try await load.run(port, seconds: 1, on: loop)
            let before = try ProcessCost(of: server.processID)
            let result = try await load.run(port, seconds: load.seconds, on: loop)
            let after = try ProcessCost(of: server.processID)
            server.kill(SIGTERM)
            _ = try await withTimeout(.seconds(10), "the server's end", on: loop) { try await server.exitStatus }
            return Measurement(
                cpu: (after.cpuMicroseconds - before.cpuMicroseconds) / Double(max(1, result.requests)),
                rate: Double(result.requests) / Double(load.seconds), p50: result.p50, p99: result.p99,
                resident: after.residentKilobytes)
        } catch {
            server.kill(SIGKILL)
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
                let connection = try await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop)
                return connection.close()
            } catch {
                guard MonotonicTime.now() < deadline else { throw error }
                try await loop.sleep(for: .milliseconds(20))
            }
        }
    }

    private func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    }
}

/// A server to measure.
enum Subject {
    case weft(String, loops: Int)
    case nginx(String, workers: Int)

    var name: String {
        switch self {
        case .weft("reactor", _): "weft: Reactor alone"
        case .weft("hot", _): "weft: HTTP server, events"
        case .weft(_, _): "weft: HTTP server, async"
        case .nginx: "nginx: return 200"
        }
    }

    static func nginxSettings(workers: Int) -> String {
        "worker_processes \(workers); worker_connections 4096; multi_accept on; access_log off; keepalive_requests 1000000000; tcp_nodelay on; listen reuseport"
    }

    func command(_ port: UInt16) throws -> ChildProcess.Configuration {
        switch self {
        case .weft(let kind, let loops):
            return .init(["/proc/self/exe", "serve", kind, "--port", "\(port)", "--loops", "\(loops)"])
        case .nginx(let folder, let workers):
            let file = "\(folder)/nginx.conf"
            try Files.writeAtomically(
                file,
                """
                daemon off; master_process on; worker_processes \(workers); pid \(folder)/pid; error_log \(folder)/error.log;
                events { worker_connections 4096; multi_accept on; }
                http {
                  access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; tcp_nodelay on;
                  client_body_temp_path \(folder)/a; proxy_temp_path \(folder)/b; fastcgi_temp_path \(folder)/c;
                  uwsgi_temp_path \(folder)/d; scgi_temp_path \(folder)/e; default_type text/plain;
                  server { listen 127.0.0.1:\(port) reuseport backlog=4096; location / { return 200 "hello, world\\n"; } }
                }
                """)
            return .init(["nginx", "-c", file, "-e", "\(folder)/error.log"])
        }
    }
}

/// wrk, and what it says.
struct Load {
    var seconds: Int
    var connections: Int

    struct Result {
        var requests = 0
        /// Microseconds.
        var p50 = 0.0
        var p99 = 0.0
    }

    struct Unreadable: Error, CustomStringConvertible {
        var output: String
        var description: String { "cannot read what wrk printed:\n\(output)" }
    }

    func command(_ url: String, seconds: Int? = nil) -> String {
        "wrk -t1 -c\(connections) -d\(seconds ?? self.seconds)s --latency \(url)"
    }

    func run(_ port: UInt16, seconds: Int, on loop: EventLoop) async throws -> Result {
        let words = command("http://127.0.0.1:\(port)/", seconds: seconds).split(separator: " ").map(String.init)
        let output = try await ChildProcess.run(.init(words), on: loop, timeout: .seconds(seconds + 20))
        var result = Result()
        for line in output.text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count >= 3, words[1] == "requests", words[2] == "in" { result.requests = Int(words[0]) ?? 0 }
            if words.count == 2, words[0] == "50%" { result.p50 = Self.microseconds(words[1]) }
            if words.count == 2, words[0] == "99%" { result.p99 = Self.microseconds(words[1]) }
            if line.contains("Non-2xx") || line.contains("Socket errors") { throw Unreadable(output: output.text) }
        }
        guard output.status.isSuccess, result.requests > 0 else {
            throw Unreadable(output: output.text + output.errorText)
        }
        return result
    }

    private static func microseconds(_ text: Substring) -> Double {
        for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] where text.hasSuffix(unit) {
            return (Double(text.dropLast(unit.count)) ?? 0) * factor
        }
        return 0
    }
}

/// What a process and its children have used so far.
struct ProcessCost {
    var cpuMicroseconds = 0.0
    var residentKilobytes = 0

    init(of pid: Int32) throws {
        var family = [pid]
        if let children = try? Files.readText("/proc/\(pid)/task/\(pid)/children") {
            family += children.split(separator: " ").compactMap { Int32($0.filter(\.isNumber)) }
        }
        for pid in family {
            let stat = try Files.readText("/proc/\(pid)/stat")
            // The name in brackets may hold blanks; user and system time are the 12th and 13th words behind it.
            let words = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
            guard words.count > 22 else { continue }
            let ticks = (Double(words[12]) ?? 0) + (Double(words[13]) ?? 0)
            cpuMicroseconds += ticks * 1e6 / Double(sysconf(CInt(_SC_CLK_TCK)))
            residentKilobytes += (Int(words[22]) ?? 0) * sysconf(CInt(_SC_PAGESIZE)) / 1024
        }
    }
}

struct Measurement: CustomStringConvertible {
    /// User and system microseconds a request.
    var cpu: Double
    var rate: Double
    var p50: Double
    var p99: Double
    var resident: Int

    var description: String {
        "\(rounded(cpu)) us CPU/request, \(Int(rate)) requests/s, p50 \(rounded(p50)) us, p99 \(rounded(p99)) us, \(resident) kB"
    }
}

func rounded(_ value: Double) -> String { String(Double(Int(value * 100 + 0.5)) / 100) }

/// One line of the table: medians over the rounds, and the spread of the first column.
struct Row {
    var name: String
    var rounds: [Measurement]

    static let header =
        pad("server", 28) + pad("CPU us/req", 12) + pad("spread", 16) + pad("x nginx", 9) + pad("req/s", 9)
        + pad("p50 us", 9)
        + pad("p99 us", 9) + "RSS kB"

    private func median(_ value: (Measurement) -> Double) -> Double {
        let sorted = rounds.map(value).sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    private var cpu: Double { median(\.cpu) }

    func text(beside peer: Row) -> String {
        let all = rounds.map(\.cpu)
        return pad(name, 28) + pad(rounded(cpu), 12) + pad("\(rounded(all.min() ?? 0))-\(rounded(all.max() ?? 0))", 16)
            + pad(rounded(cpu / peer.cpu), 9) + pad("\(Int(median(\.rate)))", 9) + pad(rounded(median(\.p50)), 9)
            + pad(rounded(median(\.p99)), 9) + "\(Int(median { Double($0.resident) }))"
    }

    func json(beside peer: Row) -> String {
        """
        {"server":"\(name)","cpu_us_per_request":\(rounded(cpu)),"times_nginx":\(rounded(cpu / peer.cpu)),\
        "requests_per_second":\(Int(median(\.rate))),"p50_us":\(rounded(median(\.p50))),"p99_us":\(rounded(median(\.p99))),\
        "resident_kb":\(Int(median { Double($0.resident) }))}
        """
    }
}

private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
}
