import Bytes
import Glibc
import Reactor

/// The whole run: scenarios one after another, in each the peers in turn, round by round; then what memory holds.
struct Comparison: Sendable {
    private let options: Options
    /// Load is made on the second loop, children are watched on the first.
    private let group: EventLoopGroup
    private var loop: EventLoop { group.all[0] }

    init(_ options: Options, _ group: EventLoopGroup) { (self.options, self.group) = (options, group) }

    func run() async throws {
        if options.showsConfigs { return showConfigs() }
        let folder = "\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/bench-proxy-\(getpid())"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try await Backend.makeCertificate(folder, on: loop)
        let port = try await freePort(on: loop)
        let backend = try await Backend.start(folder, port, on: loop)
        let peers = installed()
        say(
            "# 1 worker each, \(options.rounds) rounds of \(options.seconds) s, alternating; one nginx behind all, not counted"
        )
        var results: [ScenarioResult] = []
        for scenario in Scenario.all where options.wants(scenario.name) {
            results.append(await measure(scenario, peers, folder, backend: port))
        }
        let memory = try await MemoryRows(options, group, folder, backend: port, log: say).measure(peers)
        await backend.stop()
        if options.wantsJSON {
            let rows = results.flatMap(\.json) + memory.map(\.json)
            print("[" + rows.joined(separator: ",\n ") + "]")
        } else {
            for line in ScenarioResult.table(results, peers.map(\.peer)) + MemoryRow.table(memory, peers.map(\.peer)) {
                print(line)
            }
        }
    }

    typealias Peer = (peer: Contestant, path: String)

    private func installed() -> [Peer] {
        options.peers.compactMap { peer in
            guard let path = options.path(of: peer) else {
                say("# \(peer.rawValue) is not installed and left out")
                return nil
            }
            return (peer, path)
        }
    }

    private func measure(_ scenario: Scenario, _ peers: [Peer], _ folder: String, backend: UInt16) async
        -> ScenarioResult
    {
        var result = ScenarioResult(scenario: scenario)
        var running: [(peer: Contestant, process: RunningProcess, port: UInt16)] = []
        for (peer, path) in peers {
            do {
                let port = try await freePort(on: loop)
                let job = Job(face: scenario.face, port: port, backend: backend, folder: folder)
                let file = "\(folder)/\(peer.rawValue).\(peer == .haproxy || peer == .nginx ? "conf" : "json")"
                try Files.writeAtomically(file, peer.config(job))
                let process = try await RunningProcess.start(
                    peer.command(path, file, folder), port: port, folder: folder, name: peer.rawValue, on: loop)
                running.append((peer, process, port))
            } catch {
                say("# \(scenario.name): \(peer.rawValue) is left out: \(error)")
            }
        }
        for round in 1...options.rounds {
            for (peer, process, port) in running {
                do {
                    let measured = try await measure(scenario, process, port)
                    result.rounds[peer, default: []].append(measured)
                    say("# \(scenario.name), round \(round), \(peer.rawValue): \(measured)")
                } catch {
                    say("# \(scenario.name), round \(round), \(peer.rawValue): \(error)")
                }
            }
        }
        for (peer, process, port) in running where result.rounds[peer] != nil {
            do { result.latency[peer] = Latency(try await latencies(scenario, port, folder)) } catch {
                say("# \(scenario.name), latency, \(peer.rawValue): \(error)")
            }
            result.resident[peer] = (try? process.resident.all) ?? 0
        }
        for (_, process, _) in running { await process.stop() }
        return result
    }

    private func measure(_ scenario: Scenario, _ process: RunningProcess, _ port: UInt16) async throws -> Measurement {
        _ = try await LoadGenerator.run(scenario, port, seconds: 1, on: loop)
        let before = try process.cpu
        let requests = try await LoadGenerator.run(scenario, port, seconds: options.seconds, on: loop)
        let after = try process.cpu
        return Measurement(
            cpu: (after - before) / Double(max(1, requests)), rate: Double(requests) / Double(options.seconds))
    }

    private func latencies(_ scenario: Scenario, _ port: UInt16, _ folder: String) async throws -> [Double] {
        if case .h2load = scenario.load {
            return try await LoadGenerator.latenciesOverHTTP2(
                scenario, port, seconds: options.seconds, folder, on: loop)
        }
        return try await PacedLoad(scenario: scenario, port: port, loop: group.all[1]).run(seconds: options.seconds)
    }

    private func showConfigs() {
        for scenario in Scenario.all where options.wants(scenario.name) {
            print("## \(scenario.name): \(scenario.command(10000, seconds: options.seconds).joined(separator: " "))")
            for peer in options.peers where peer != .weft {
                print("# \(peer == .envoy ? "weft-proxy and envoy" : peer.rawValue)")
                print(peer.config(Job(face: scenario.face, port: 10000, backend: 8080, folder: "FOLDER")))
            }
        }
    }

    private func say(_ line: String) {
        // What goes on is for people; with --json the output holds the result alone.
        let bytes = Array((line + "\n").utf8)
        _ = bytes.withUnsafeBytes { write(options.wantsJSON ? 2 : 1, $0.baseAddress, $0.count) }
    }
}
