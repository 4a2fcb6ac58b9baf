import ClusterAPI
import ClusterClient
import Glibc
import HTTP
import JSON
import Reactor

/// What a sidecar of a large mesh holds that calls a few Services, and what its first calls take.
struct SidecarMemory {
    let options: Options

    private struct Row {
        var name: String
        /// KiB by the names of `/proc/PID/smaps_rollup`.
        var rest: [String: Int]
        var called: [String: Int]
        /// Milliseconds, in the order of the calls.
        var first: [Double]
        var second: [Double]
    }

    func run() async throws {
        let group = try EventLoopGroup(count: 1, name: "bench")
        let lab = try RouteLab(group)
        try await lab.loop.perform {
            do {
                try await measure(lab)
                await lab.close()
            } catch {
                await lab.close()
                throw error
            }
        }
    }

    private func measure(_ lab: RouteLab) async throws {
        let client = try await lab.startControl()
        try await MeshCluster.make(options, pods: 2, with: client)
        try await lab.serveAll()
        _ = try await lab.identity()
        var addresses: [String] = []
        for name in (0..<min(options.calls, options.services)).map({ "s\($0)" }) {
            let service = try await client.get(.services, ObjectKey(namespace: MeshCluster.namespace, name: name))
            guard let address = service.json["spec"]?["clusterIP"]?.string else { throw Failure("\(name): no address") }
            addresses.append(address)
        }
        var rows: [Row] = []
        for asks in [true, false] {
            rows.append(try await row(asks ? "on demand" : "told of all", lab, asks: asks, addresses))
        }
        show(rows)
    }

    private func row(_ name: String, _ lab: RouteLab, asks: Bool, _ addresses: [String]) async throws -> Row {
        let proxy = try lab.startProxy(asks ? 0 : 1, asks: asks)
        let before = try await settled(proxy, lab)
        var times: [[Double]] = [[], []]
        for round in 0..<2 {
            for address in addresses {
                let began = monotonic()
                let client = HTTPClient(on: lab.loop, endpoint: HTTPEndpoint(host: address, port: 80))
                let answer = try await client.request("GET", "/", timeout: .seconds(30))
                guard answer.isSuccess else { throw Failure("\(address) answers \(answer.status)") }
                times[round].append((monotonic() - began) * 1000)
            }
        }
        let after = try await settled(proxy, lab)
        proxy.kill(SIGKILL)
        _ = try? await proxy.exitStatus
        return Row(name: name, rest: before, called: after, first: times[0], second: times[1])
    }

    /// Its memory once that has not changed for two seconds.
    private func settled(_ proxy: ChildProcess, _ lab: RouteLab) async throws -> [String: Int] {
        var last = ["": 0]
        var same = 0
        for _ in 0..<600 {
            let now = Self.memory(proxy.processID)
            same = now["Rss"] ?? 0 > 4096 && now["Rss"] == last["Rss"] ? same + 1 : 0
            last = now
            if same == 20 { return now }
            try await lab.loop.sleep(for: .milliseconds(100))
        }
        throw Failure("the sidecar's memory goes on changing")
    }

    private static func memory(_ pid: pid_t) -> [String: Int] {
        let text = (try? Files.readText("/proc/\(pid)/smaps_rollup")) ?? ""
        var found: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count >= 2, let number = Int(words[1]) { found[String(words[0].dropLast())] = number }
        }
        return found
    }

    private func show(_ rows: [Row]) {
        let kinds = ["Rss", "Pss", "Pss_Anon", "Pss_File", "Private_Dirty"]
        if options.isJSON {
            let all = rows.map { row -> JSONValue in
                func numbers(_ of: [String: Int]) -> JSONValue {
                    .object(JSONObject(kinds.map { (key: $0, value: .int(Int64(of[$0] ?? 0))) }))
                }
                return [
                    "name": .string(row.name), "rest": numbers(row.rest), "called": numbers(row.called),
                    "first": .array(row.first.map { .double($0) }), "second": .array(row.second.map { .double($0) }),
                ]
            }
            return print(JSONValue.array(all).encodedString())
        }
        for row in rows {
            print("\(row.name), \(options.services) Services of \(options.endpoints) endpoints")
            for (when, numbers) in [("at rest", row.rest), ("\(row.first.count) called", row.called)] {
                let words = kinds.map { "\($0) \(Self.text(Double(numbers[$0] ?? 0) / 1024)) MB" }
                print("  \(when): \(words.joined(separator: ", "))")
            }
            for (when, times) in [("first calls", row.first), ("second calls", row.second)] {
                print("  \(when): \(times.map(Self.text).joined(separator: ", ")) ms")
            }
        }
    }

    private static func text(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }
}
