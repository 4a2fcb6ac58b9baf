import Bytes
import Glibc
import Reactor

/// A server that was started for a measurement.
struct RunningProcess {
    let child: ChildProcess
    let loop: EventLoop
    /// From its start until it took a connection.
    let startTime: Duration

    /// Starts it and waits until it listens on `port`; throws its last words when it ends instead.
    static func start(
        _ command: [String], port: UInt16, folder: String, name: String, patience: Duration = .seconds(60),
        on loop: EventLoop
    ) async throws -> RunningProcess {
        let log = open("\(folder)/\(name).log", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o600)
        defer { close(log) }
        var configuration = ChildProcess.Configuration(command)
        configuration.deathSignal = SIGKILL
        configuration.descriptors = [1: log, 2: log]
        let start = MonotonicTime.now()
        let child = try await ChildProcess.start(configuration, on: loop)
        let deadline = start.adding(patience)
        while true {
            if let connection = try? await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop) {
                connection.close()
                return RunningProcess(child: child, loop: loop, startTime: MonotonicTime.now().duration(since: start))
            }
            guard child.finishedStatus == nil, MonotonicTime.now() < deadline else {
                child.kill(SIGKILL)
                let words = (try? Files.readText("\(folder)/\(name).log")) ?? ""
                throw OptionError(
                    words.split(separator: "\n").last.map { String($0.prefix(300)) } ?? "it does not start")
            }
            try await loop.sleep(for: .milliseconds(2))
        }
    }

    /// Waits until it also listens on another port.
    func listens(_ port: UInt16, patience: Duration = .seconds(10)) async throws {
        let deadline = MonotonicTime.now().adding(patience)
        while true {
            do {
                try await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop).close()
                return
            } catch {
                guard MonotonicTime.now() < deadline else { throw error }
                try await loop.sleep(for: .milliseconds(2))
            }
        }
    }

    func stop() async {
        child.kill(SIGKILL)
        _ = try? await child.exitStatus
    }

    /// User and system microseconds of all its threads so far.
    var cpu: Double {
        get throws {
            let stat = try Files.readText("/proc/\(child.processID)/stat")
            // The name in brackets may hold blanks; user and system time are the 12th and 13th words behind it.
            let words = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
            guard words.count > 12 else { throw OptionError("/proc/\(child.processID)/stat: \(stat)") }
            let ticks = (Double(words[12]) ?? 0) + (Double(words[13]) ?? 0)
            return ticks * 1e6 / Double(sysconf(CInt(_SC_CLK_TCK)))
        }
    }

    /// Resident kilobytes: all, and what is its own and not of a file.
    var resident: (all: Int, own: Int) {
        get throws {
            var values = (all: 0, own: 0)
            for line in try Files.readText("/proc/\(child.processID)/status").split(separator: "\n") {
                let words = line.split(whereSeparator: \.isWhitespace)
                guard words.count >= 2, let number = Int(words[1]) else { continue }
                if words[0] == "VmRSS:" { values.all = number }
                if words[0] == "RssAnon:" { values.own = number }
            }
            return values
        }
    }
}

extension RunningProcess {
    /// Resident kilobytes at rest: as soon as they stay the same for half a second, after ten seconds in any case. Servers listen
    /// before they have given back what reading their configuration took.
    var residentAtRest: (all: Int, own: Int) {
        get async throws {
            var last = try resident
            for _ in 0..<20 {
                try await loop.sleep(for: .milliseconds(500))
                let now = try resident
                if now == last { break }
                last = now
            }
            return last
        }
    }
}

/// A loopback port that was free a moment ago.
func freePort(on loop: EventLoop) async throws -> UInt16 {
    try await loop.perform {
        let probe = try Listener(.ip(.loopbackV4, 0), on: loop) { _ in }
        defer { probe.close() }
        return probe.address.port?.rawValue ?? 0
    }
}
