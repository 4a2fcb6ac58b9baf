import Bytes
import Glibc
import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy
@testable import XDS

/// A proxy that starts while its control plane is away, and goes on from what an earlier run was told.
@Suite("A proxy's state file", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct StateFileTests {
    private static func bootstrap(_ plane: ControlPlane, _ path: String, fetchTimeout: String = "0s") -> String {
        ControlPlane.bootstrap("DELTA_GRPC", port: plane.relayPort, fetchTimeout: fetchTimeout).replacing(
            "node: {", with: "node: { metadata: { STATE_FILE: \"\(path)\" },")
    }

    /// As in `ListenersOnDemandTests`, with the clusters to which those connections go that no listener takes.
    private static func publish(
        _ plane: ControlPlane, _ version: String, to port: String, others: [String], hasWeb: Bool = true
    ) async throws {
        let front = ListenersOnDemandTests.doubtful(["timeout": 600])
        if hasWeb {
            try await ListenersOnDemandTests.publish(plane, version, front: front, port)
        } else {
            try await plane.set(ControlPlane.listener, version, [front])
        }
        try await plane.set(
            ControlPlane.cluster, version,
            [
                ControlPlane.discovered("web"), ControlPlane.fixed("tcp", port), ControlPlane.fixed("known", others[0]),
                ControlPlane.fixed("maybe", others[1]),
            ], named: ["web", "tcp"])
    }

    private static func cut(_ plane: ControlPlane) async throws {
        try await plane.tell("relay", ["mode": "cut", "after": 0])
        try await plane.set(ControlPlane.secret, "1", [])
        try await plane.tell("end", ["code": 14])
    }

    private static func memory(_ path: String) throws -> DiscoveryMemory {
        try DiscoveryMemory(try Files.read(path), owner: "test-proxy")
    }

    private func call(_ bench: ProxyBench, _ port: Int) async throws -> String {
        try await ListenersOnDemandTests.call(bench, "10.96.0.1", port)
    }

    @Test(
        "without a control plane it serves what was served before, and goes on from there when there is one again",
        arguments: [1, 2])
    func comesBack(workers: Int) async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/state"
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            let others = [
                try await plane.upstream(ScriptedUpstream.says("known")),
                try await plane.upstream(ScriptedUpstream.says("maybe")),
            ]
            try await Self.publish(plane, "1", to: port, others: others)
            let bootstrap = Self.bootstrap(plane, path)
            try await ProxyBench.run(bootstrap, workers: workers) { bench in
                #expect(try await call(bench, 80) == "up")
                #expect(try await call(bench, 81) == "known")
                try await bench.until {
                    guard let memory = try? Self.memory(path) else { return false }
                    return memory.named(.listener) == ["10.96.0.1_80"] && memory.named(.cluster) == ["web"]
                        && memory.named(.clusterLoadAssignment) == ["web"]
                        && memory.named(.routeConfiguration) == ["web:80"]
                }
                var status = stat()
                #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
            }
            try await Self.cut(plane)
            _ = try await plane.next { $0["event"] == "close" }
            // What changes meanwhile: an endpoint, and a listener that goes.
            let moved = try await plane.upstream(ScriptedUpstream.says("moved"))
            try await ProxyBench.run(bootstrap, workers: workers) { bench in
                for _ in 0..<2 * workers {
                    #expect(try await call(bench, 80) == "up")
                    #expect(try await call(bench, 81) == "maybe", "what was not there may be there now")
                }
                #expect(await ListenersOnDemandTests.counts(bench, "active: 1"))
                try await plane.set(ControlPlane.endpoints, "2", [ControlPlane.assignment("web", moved)])
                try await plane.tell("relay", ["mode": "pass"])
                let again = try await plane.next {
                    $0["kind"]?.string == ControlPlane.listener && $0["held"]?["10.96.0.1_80"] != nil
                }
                #expect(again["held"]?["front"] != nil && again["names"]?.array?.contains("10.96.0.1_80") == true)
                try await bench.until { try await call(bench, 80) == "moved" }
                #expect(try await call(bench, 81) == "known")
                try await Self.publish(plane, "3", to: moved, others: others, hasWeb: false)
                try await bench.until { try await call(bench, 80) == "known" }
                #expect(bench.server.problems.newest == [])
            }
        }
    }

    @Test("who is answered takes nothing from it, and what is broken or another's is not used")
    func notUsed() async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/state"
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            let others = [port, port]
            try await Self.publish(plane, "1", to: port, others: others)
            try await ProxyBench.run(Self.bootstrap(plane, path)) { bench in
                #expect(try await call(bench, 80) == "up")
                try await bench.until { (try? Self.memory(path).named(.listener)) == ["10.96.0.1_80"] }
            }
            let written = try Files.read(path)
            _ = try await plane.next { $0["event"] == "close" }
            try await ProxyBench.run(Self.bootstrap(plane, path)) { bench in
                #expect(await bench.server.listeners.keys.sorted() == ["front"])
            }
            try await Self.cut(plane)
            var broken = written
            broken[broken.count / 2] ^= 1
            for (contents, id) in [(broken, "test-proxy"), (written, "another-one")] {
                try Files.writeAtomically(path, contents)
                let bootstrap = Self.bootstrap(plane, path, fetchTimeout: "0.1s").replacing("test-proxy", with: id)
                try await ProxyBench.run(bootstrap) { bench in
                    #expect(await bench.server.listeners.isEmpty)
                }
            }
            try Files.writeAtomically(path, written)
            try await ProxyBench.run(Self.bootstrap(plane, path)) { bench in
                let body = try await call(bench, 80)
                #expect(body == "up")
            }
        }
    }
}
