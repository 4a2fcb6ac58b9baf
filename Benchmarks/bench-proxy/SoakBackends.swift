import Bytes
import Glibc
import Reactor
import Synchronization

/// The servers behind a soaking proxy; never more than one of them is down.
actor SoakBackends {
    nonisolated let ports: [UInt16]
    private let folder: String
    private let loop: EventLoop
    private var running: [RunningProcess] = []

    private init(_ ports: [UInt16], _ folder: String, _ loop: EventLoop) {
        self.ports = ports
        self.folder = folder
        self.loop = loop
    }

    static func start(_ count: Int, _ folder: String, on loop: EventLoop) async throws -> SoakBackends {
        var ports: [UInt16] = []
        for _ in 0..<count { ports.append(try await freePort(on: loop)) }
        let backends = SoakBackends(ports, folder, loop)
        try await backends.startAll()
        return backends
    }

    private func startAll() async throws {
        for index in ports.indices { running.append(try await startOne(index)) }
    }

    private func startOne(_ index: Int) async throws -> RunningProcess {
        let own = "\(folder)/backend-\(index)"
        return try await Backend.start(own, ports[index], on: loop)
    }

    /// Kills one as a crash would, and starts it again before it answers.
    func killOne(_ index: Int) async throws {
        await running[index].stop()
        try await loop.sleep(for: .milliseconds(150))
        running[index] = try await startOne(index)
    }

    func stop() async { for process in running { await process.stop() } }
}

/// What was done to the proxy's world.
final class SoakChanges: Sendable {
    struct Counts: Sendable {
        var kills = 0
        var reloads = 0
    }

    private let state = Mutex(Counts())

    var counts: Counts { state.withLock { $0 } }

    func noteKill() { state.withLock { $0.kills += 1 } }
    func noteReload() { state.withLock { $0.reloads += 1 } }
}
