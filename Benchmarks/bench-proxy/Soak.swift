import Bytes
import Glibc
import Reactor
import TLS

/// Mixed requests through one proxy for a while, in which its backends are killed and its configuration is rewritten.
struct Soak: Sendable {
    private let options: SoakOptions
    private let group: EventLoopGroup
    private var loop: EventLoop { group.all[0] }

    init(_ options: SoakOptions, _ group: EventLoopGroup) { (self.options, self.group) = (options, group) }

    /// Throws when a request failed that should not have, or memory does not end where it stood when it was warm.
    func run() async throws {
        guard let program = options.programs.path(of: options.proxy) else {
            throw OptionError("\(options.proxy.rawValue) is not installed")
        }
        let folder = "\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/soak-proxy-\(getpid())"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try await Backend.makeCertificate(folder, on: loop)
        let backends = try await SoakBackends.start(3, folder, on: loop)
        let config = SoakConfig(
            folder: folder, plainPort: try await freePort(on: loop), securePort: try await freePort(on: loop),
            adminPort: try await freePort(on: loop),
            backends: backends.ports)
        let (proxy, reloads) = try await startProxy(program, config, folder)
        let end = MonotonicTime.now().adding(.seconds(options.seconds))
        let traffic = try self.traffic(config)
        let changes = SoakChanges()
        var memory = SoakMemory(seconds: options.seconds, adminPort: config.adminPort)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for kind in traffic {
                for _ in 0..<2 { tasks.addTask { await kind.run(until: end, on: group.all[1]) } }
            }
            tasks.addTask { try await kill(backends, until: end, changes) }
            if reloads { tasks.addTask { try await rewrite(config, until: end, changes) } }
            try await memory.watch(proxy, seconds: options.seconds, say)
            try await tasks.waitForAll()
        }
        try await memory.end(proxy, seconds: options.seconds)
        let ended = proxy.child.finishedStatus
        await proxy.stop()
        await backends.stop()
        if let ended { throw OptionError("\(options.proxy.rawValue) ended with \(ended)") }
        report(traffic, changes.counts, memory, reloads)
        let failed = traffic.reduce(0) { $0 + $1.result.failed }
        guard failed == 0 else {
            throw OptionError("\(failed) requests failed that the retry policy should have covered")
        }
        if let failure = memory.failure { throw OptionError(failure) }
    }

    /// The proxy with its subscriptions, or without, when it has none.
    private func startProxy(_ program: String, _ config: SoakConfig, _ folder: String) async throws
        -> (RunningProcess, reloads: Bool)
    {
        try Files.writeAtomically("\(folder)/lds.json", config.listenerResponse(0))
        try Files.writeAtomically("\(folder)/cds.json", config.clusterResponse(0))
        let file = "\(folder)/bootstrap.json"
        func start(isDynamic: Bool) async throws -> RunningProcess {
            try Files.writeAtomically(file, config.bootstrap(isDynamic: isDynamic))
            let proxy = try await RunningProcess.start(
                options.proxy.command(program, file, folder), port: config.plainPort, folder: folder,
                name: options.proxy.rawValue, patience: .seconds(10), on: loop)
            try await proxy.listens(config.securePort)
            return proxy
        }
        do { return (try await start(isDynamic: true), true) } catch {
            say("# no reloads: \(options.proxy.rawValue) does not take subscriptions to files: \(error)")
            return (try await start(isDynamic: false), false)
        }
    }

    private func traffic(_ config: SoakConfig) throws -> [SoakTraffic] {
        let tls = try TLSContext(client: TLSClientConfiguration(verification: nil))
        let (plain, secure) = (config.plainPort, config.securePort)
        let body = [UInt8](repeating: UInt8(ascii: "b"), count: 20_000)
        return [
            SoakTraffic("GET 1 KB, kept", path: "/1k", port: plain),
            SoakTraffic("GET 1 KB, once", path: "/1k", port: plain, isOnce: true),
            SoakTraffic("GET 1 MB", path: "/1m", port: plain),
            SoakTraffic("POST 20 KB", method: "POST", path: "/post", body: body, port: plain),
            SoakTraffic("GET over TLS, kept", path: "/1k", port: secure, tls: tls),
            SoakTraffic("GET over TLS, once", path: "/1k", port: secure, tls: tls, isOnce: true),
        ]
    }

    private func kill(_ backends: SoakBackends, until end: MonotonicTime, _ changes: SoakChanges) async throws {
        var random = SplitMix64(seed: options.seed)
        while MonotonicTime.now() < end {
            try await loop.sleep(for: .milliseconds(Int.random(in: 400...1500, using: &random)))
            try await backends.killOne(Int.random(in: 0..<3, using: &random))
            changes.noteKill()
        }
    }

    private func rewrite(_ config: SoakConfig, until end: MonotonicTime, _ changes: SoakChanges) async throws {
        var random = SplitMix64(seed: options.seed &+ 1)
        var variant = 0
        while MonotonicTime.now() < end {
            try await loop.sleep(for: .milliseconds(Int.random(in: 150...900, using: &random)))
            variant += 1
            if Bool.random(using: &random) {
                try Files.writeAtomically("\(config.folder)/cds.json", config.clusterResponse(variant))
            } else {
                try Files.writeAtomically("\(config.folder)/lds.json", config.listenerResponse(variant))
            }
            changes.noteReload()
        }
    }

    private func report(
        _ traffic: [SoakTraffic], _ changes: SoakChanges.Counts, _ memory: SoakMemory, _ reloads: Bool
    ) {
        if options.wantsJSON {
            let rows = traffic.map { kind in
                let tally = kind.result
                return
                    "{\"kind\": \"\(kind.name)\", \"answered\": \(tally.answered), \"failed\": \(tally.failed), \"cut\": \(tally.cut), \"raced\": \(tally.raced)}"
            }
            return print(
                """
                {"proxy": "\(options.proxy.rawValue)", "seconds": \(options.seconds), "kills": \(changes.kills), "reloads": \(changes.reloads), \
                "own_kb": [\(memory.samples.map { "\($0.resident)" }.joined(separator: ", "))], \
                "allocated_kb": [\(memory.samples.map { "\($0.allocated ?? 0)" }.joined(separator: ", "))], "traffic": [\(rows.joined(separator: ", "))]}
                """)
        }
        print(
            "\(options.proxy.rawValue), \(options.seconds) s: \(changes.kills) backends killed, \(changes.reloads) reloads"
                + (reloads ? "" : " (it has no subscriptions to files)"))
        print(pad("", 24) + pad("answered", 10) + pad("failed", 8) + pad("cut short", 11) + "closed while idle")
        for kind in traffic {
            let tally = kind.result
            print(
                pad(kind.name, 24) + pad("\(tally.answered)", 10) + pad("\(tally.failed)", 8) + pad("\(tally.cut)", 11)
                    + "\(tally.raced)" + (tally.lastFailure.isEmpty ? "" : "   last: \(tally.lastFailure)"))
        }
        print("its own memory: \(memory.summary)")
    }

    private func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = bytes.withUnsafeBytes { write(options.wantsJSON ? 2 : 1, $0.baseAddress, $0.count) }
    }
}
