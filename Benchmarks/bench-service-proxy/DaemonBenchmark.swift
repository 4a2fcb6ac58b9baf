import Bytes
import Glibc
import HTTP
import Reactor

/// The whole daemon beside an API server with so many objects: what a node has. An effect is measured where users see it, at
/// the first connection that finds its Service.
///
/// In a network namespace of its own, see `BenchNetwork`.
final class DaemonBenchmark {
    private static let servicesPath = "/api/v1/services"
    private static let slicesPath = "/apis/discovery.k8s.io/v1/endpointslices"
    private static let changes = 100
    /// A slow program is measured with fewer changes.
    private static let changeTime = Duration.seconds(90)
    private static let patience = Duration.seconds(300)
    private static let connects = 2000

    private let load: Load
    private let process: ProxyProcess
    private let server: ObjectServer
    private let group: EventLoopGroup
    private let metrics: HTTPClient
    private var child: ChildProcess
    private var revision = 1

    static func run(_ load: Load, _ program: ProxyProcess.Program) async throws -> [Row] {
        try BenchNetwork.answer(on: Load.endpointPort)
        let server = try ObjectServer(objects(load))
        let process = try ProxyProcess(program, server: try await server.start())
        defer { process.remove() }
        let group = try EventLoopGroup(count: 1, name: "bench")
        let start = ContinuousClock.now
        let child = try await process.start(on: group.next)
        defer { child.kill(SIGKILL) }
        let benchmark = try DaemonBenchmark(load, process, server, group, child)
        do {
            return try await benchmark.measure(since: start)
        } catch {
            throw BenchmarkError("\(program.name): \(error); it said: \(process.lastWords)")
        }
    }

    private init(
        _ load: Load, _ process: ProxyProcess, _ server: ObjectServer, _ group: EventLoopGroup, _ child: ChildProcess
    ) throws {
        (self.load, self.process, self.server, self.group, self.child) = (load, process, server, group, child)
        guard let endpoint = HTTPEndpoint("http://127.0.0.1:\(ProxyProcess.metricsPort)") else {
            throw BenchmarkError("no endpoint")
        }
        metrics = HTTPClient(on: group.next, endpoint: endpoint, tls: nil, limits: HTTPClientLimits())
    }

    private static func objects(_ load: Load) -> [String: ObjectServer.Collection] {
        var services: [String] = []
        var slices: [String] = []
        func add(_ number: Int, _ endpoints: Int) {
            services.append(load.serviceText(number, revision: 1))
            slices += load.sliceTexts(number, endpoints: endpoints, revision: 1)
        }
        for endpoints in Load.special { add(load.special(endpoints), endpoints) }
        for number in 0..<load.services { add(number, load.endpoints) }
        let node = """
            {"kind":"Node","apiVersion":"v1","metadata":{"name":"\(Load.node)","uid":"1","resourceVersion":"1"},\
            "spec":{"podCIDR":"10.128.1.0/24","podCIDRs":["10.128.1.0/24"]},\
            "status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}]}}
            """
        return [
            servicesPath: .init(kind: "Service", apiVersion: "v1", objects: services),
            slicesPath: .init(kind: "EndpointSlice", apiVersion: "discovery.k8s.io/v1", objects: slices),
            "/api/v1/nodes": .init(kind: "Node", apiVersion: "v1", objects: [node]),
            "/apis/networking.k8s.io/v1/servicecidrs": .init(
                kind: "ServiceCIDR", apiVersion: "networking.k8s.io/v1"),
        ]
    }

    // MARK: -

    private func measure(since start: ContinuousClock.Instant) async throws -> [Row] {
        try await until("the last Service answers", since: start) { reaches(load.services - 1) }
        let full = (ContinuousClock.now - start).milliseconds
        guard reaches(0), reaches(load.services / 2) else { throw BenchmarkError("some Services do not answer") }
        let fullProcessor = processorMilliseconds(of: child.processID)
        // Until it has settled: what a start needed is given back.
        try await group.next.sleep(for: .seconds(5))
        let resident = residentMegabytes(of: "\(child.processID)")

        let (changes, changeProcessor) = try await measureChanges()
        let burst = try await measureBurst()
        let direct = connectRow("an endpoint itself", load.address(ofEndpoint: 0), Load.endpointPort)
        let connections =
            [direct] + Load.special.map { connectRow("\($0) endpoints", load.address(ofService: load.special($0))) }

        _ = child.kill(SIGKILL)
        _ = try await child.exitStatus
        let again = ContinuousClock.now
        child = try await process.start(on: group.next)
        try await until("it is in step", since: again) {
            // Answering costs the program more than a refused connection does.
            usleep(10_000)
            return await metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds").contains { $0 != "0" }
        }
        let restart = (ContinuousClock.now - again).milliseconds
        let restartProcessor = processorMilliseconds(of: child.processID)
        let writes = await metric("weft_service_proxy_element_writes_total").first ?? "-"
        try await group.next.sleep(for: .seconds(5))
        let residentAgain = residentMegabytes(of: "\(child.processID)")
        _ = child.kill(SIGKILL)
        _ = try await child.exitStatus
        return [
            Row(cells: [
                ("program", process.program.name), ("load", load.name), ("full sync ms", text(full)),
                ("cpu ms", text(fullProcessor)), ("change p50 ms", text(percentile(changes, 0.5))),
                ("p99 ms", text(percentile(changes, 0.99))), ("cpu ms/change", text(changeProcessor)),
                ("burst \(Load.burst) ms", text(burst)), ("restart ms", text(restart)),
                ("restart cpu ms", text(restartProcessor)),
                ("restart writes", writes), ("resident MB", text(resident)), ("after restart MB", text(residentAgain)),
            ])
        ] + connections
    }

    /// A Service comes and goes, each until the first connection notices; and the processor time of one event.
    private func measureChanges() async throws -> (milliseconds: [Double], processor: Double) {
        var times: [Double] = []
        let before = processorMilliseconds(of: child.processID)
        let begin = ContinuousClock.now
        let number = load.later(Load.burst)
        while times.count < Self.changes * 2, ContinuousClock.now - begin < Self.changeTime {
            var start = ContinuousClock.now
            send("ADDED", [number])
            try await until("a new Service answers", since: start) { reaches(number) }
            times.append((ContinuousClock.now - start).milliseconds)
            start = .now
            send("DELETED", [number])
            try await until("a deleted Service refuses", since: start) { !reaches(number) }
            times.append((ContinuousClock.now - start).milliseconds)
            // As changes come: not all at once.
            try await group.next.sleep(for: .milliseconds(20))
        }
        return (times, (processorMilliseconds(of: child.processID) - before) / Double(times.count))
    }

    private func measureBurst() async throws -> Double {
        let numbers = (0..<Load.burst).map { load.later($0) }
        let start = ContinuousClock.now
        send("ADDED", numbers)
        try await until("the last of a burst answers", since: start) { reaches(numbers[numbers.count - 1]) }
        let took = (ContinuousClock.now - start).milliseconds
        guard numbers.allSatisfy({ reaches($0) }) else { throw BenchmarkError("a part of a burst does not answer") }
        return took
    }

    private func connectRow(_ name: String, _ address: IPAddress, _ port: UInt16 = Load.servicePort) -> Row {
        let start = ContinuousClock.now
        let times = (0..<Self.connects).compactMap { _ in BenchNetwork.connect(address, port) }
        let took = (ContinuousClock.now - start).milliseconds
        return Row(cells: [
            ("program", process.program.name), ("load", load.name), ("connect to", name),
            ("p50 µs", text(percentile(times, 0.5))), ("p99 µs", text(percentile(times, 0.99))),
            ("connections/s", text(Double(times.count) / took * 1000)), ("failed", "\(Self.connects - times.count)"),
        ])
    }

    // MARK: -

    private func send(_ type: String, _ numbers: [Int]) {
        revision += 1
        let services = numbers.map { load.serviceText($0, revision: revision) }
        let slices = numbers.flatMap { load.sliceTexts($0, endpoints: load.endpoints, revision: revision) }
        // As a cluster's controllers do it.
        if type == "ADDED" { server.send(type, slices, to: Self.slicesPath) }
        server.send(type, services, to: Self.servicesPath)
        if type == "DELETED" { server.send(type, slices, to: Self.slicesPath) }
    }

    /// With little patience: a local client within `connect` does not hear that it was rejected (the kernel drops ICMP for a
    /// socket that is in use) and would try again after a second.
    private func reaches(_ number: Int) -> Bool {
        BenchNetwork.connect(load.address(ofService: number), Load.servicePort, patience: .milliseconds(20)) != nil
    }

    /// Asks often at first, then every millisecond.
    private func until(_ what: String, since start: ContinuousClock.Instant, _ holds: () async -> Bool) async throws {
        while await !holds() {
            let waited = ContinuousClock.now - start
            guard waited < Self.patience, child.finishedStatus == nil else { throw BenchmarkError("never: \(what)") }
            usleep(waited < .milliseconds(50) ? 100 : 1000)
        }
    }

    /// The values that the program's metrics give under a name, with whatever labels.
    private func metric(_ name: String) async -> [String] {
        guard let response = try? await metrics.request("GET", "/metrics") else { return [] }
        let lines = String(decoding: response.body, as: UTF8.self).split(separator: "\n")
        return lines.filter { $0.hasPrefix(name + " ") || $0.hasPrefix(name + "{") }.compactMap {
            $0.split(separator: " ").last.map(String.init)
        }
    }
}
