import Bytes
import HTTP
import Reactor
import TLS

/// One thing that memory or a start was measured for, with every peer's value.
struct MemoryRow: Sendable {
    var name: String
    var unit: String
    var values: [Contestant: Double] = [:]

    static func table(_ rows: [MemoryRow], _ peers: [Contestant]) -> [String] {
        guard !rows.isEmpty else { return [] }
        return ["", pad("", 52) + peers.map { pad($0.rawValue, 12) }.joined()]
            + rows.map { row in
                pad("\(row.name), \(row.unit)", 52)
                    + peers.map { pad(row.values[$0].map { rounded($0) } ?? "-", 12) }.joined()
            }
    }

    var json: String {
        let members = values.sorted { $0.key.rawValue < $1.key.rawValue }.map {
            "\"\($0.key.rawValue)\": \(rounded($0.value))"
        }
        return "{\"row\": \"\(name)\", \"unit\": \"\(unit)\", \(members.joined(separator: ", "))}"
    }
}

/// What a proxy holds without a request in flight, and how long it takes to stand.
struct MemoryRows {
    let options: Options
    let group: EventLoopGroup
    let folder: String
    let backend: UInt16
    let log: (String) -> Void
    private var loop: EventLoop { group.all[0] }

    init(
        _ options: Options, _ group: EventLoopGroup, _ folder: String, backend: UInt16, log: @escaping (String) -> Void
    ) {
        self.options = options
        self.group = group
        self.folder = folder
        self.backend = backend
        self.log = log
    }

    func measure(_ peers: [Comparison.Peer]) async throws -> [MemoryRow] {
        var base = MemoryRow(name: "memory: at rest, resident", unit: "MB")
        var own = MemoryRow(name: "memory: at rest, not of a file", unit: "MB")
        var cluster = MemoryRow(name: "memory: a cluster of 10 endpoints with its route", unit: "KB")
        var start = MemoryRow(name: "start with \(options.clusters) clusters", unit: "s")
        var idle = MemoryRow(name: "memory: an idle keep-alive connection", unit: "KB")
        var idleTLS = MemoryRow(name: "memory: an idle TLS connection", unit: "KB")
        for (peer, path) in peers {
            func attempt(_ name: String, _ body: () async throws -> Void) async {
                guard options.wants(name) else { return }
                do { try await body() } catch { log("# \(name): \(peer.rawValue) is left out: \(error)") }
            }
            await attempt(base.name) {
                try await with(peer, path, Job()) { process, _ in
                    let resident = try await process.residentAtRest
                    base.values[peer] = Double(resident.all) / 1024
                    own.values[peer] = Double(resident.own) / 1024
                }
            }
            await attempt("memory: cluster, start") {
                let few = options.clusters / 5
                var held = (few: 0, many: 0)
                try await with(peer, path, Job(clusters: few)) { process, _ in
                    held.few = try await process.residentAtRest.own
                }
                try await with(peer, path, Job(clusters: options.clusters)) { process, _ in
                    held.many = try await process.residentAtRest.own
                    start.values[peer] =
                        Double(process.startTime.components.attoseconds) / 1e18
                        + Double(process.startTime.components.seconds)
                }
                cluster.values[peer] = Double(held.many - held.few) / Double(options.clusters - few)
            }
            await attempt(idle.name) {
                idle.values[peer] = try await connectionCost(peer, path, Job(face: .http), options.connections)
            }
            await attempt(idleTLS.name) {
                idleTLS.values[peer] = try await connectionCost(peer, path, Job(face: .tls), options.tlsConnections)
            }
        }
        return [base, own, cluster, start, idle, idleTLS].filter { !$0.values.isEmpty }
    }

    /// Kilobytes of the proxy's own memory a connection that carried one request and is kept.
    private func connectionCost(_ peer: Contestant, _ path: String, _ job: Job, _ count: Int) async throws -> Double {
        var cost = 0.0
        try await with(peer, path, job) { process, port in
            let tls = try job.isTLS ? TLSContext(client: TLSClientConfiguration(verification: nil)) : nil
            let clients = IdleClients(port: port, tls: tls, loop: group.all[1])
            // What the first connections bring along is not theirs alone.
            try await clients.open(50)
            let before = try process.resident.own
            try await clients.open(count)
            let after = try process.resident.own
            clients.close()
            cost = Double(after - before) / Double(count)
        }
        return cost
    }

    /// Starts the peer for a job and hands it over with its port.
    private func with(
        _ peer: Contestant, _ path: String, _ job: Job, _ body: (RunningProcess, UInt16) async throws -> Void
    ) async throws {
        var job = job
        job.port = try await freePort(on: loop)
        job.backend = backend
        job.folder = folder
        let file = "\(folder)/\(peer.rawValue)-memory.\(peer == .haproxy || peer == .nginx ? "conf" : "json")"
        try Files.writeAtomically(file, peer.config(job))
        let process = try await RunningProcess.start(
            peer.command(path, file, folder), port: job.port, folder: folder, name: peer.rawValue, on: loop)
        do { try await body(process, job.port) } catch {
            await process.stop()
            throw error
        }
        await process.stop()
    }
}

/// Connections that carried one request each and then rest.
private final class IdleClients {
    private let port: UInt16
    private let tls: TLSContext?
    private let loop: EventLoop
    private var clients: [HTTPClient] = []

    init(port: UInt16, tls: TLSContext?, loop: EventLoop) { (self.port, self.tls, self.loop) = (port, tls, loop) }

    func open(_ count: Int) async throws {
        var limits = HTTPClientLimits()
        limits.idleTimeout = .seconds(600)
        for _ in 0..<count {
            let client = HTTPClient(
                on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: tls != nil), tls: tls,
                limits: limits)
            let response = try await client.request("GET", "/1k")
            guard response.status == 200 else { throw OptionError("answered with \(response.status)") }
            clients.append(client)
        }
    }

    func close() { for client in clients { client.close() } }
}
