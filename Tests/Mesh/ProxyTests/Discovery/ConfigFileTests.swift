import Reactor
import TestSupport
import Testing

@testable import Proxy

@Suite("Configuration from files")
struct ConfigFileTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    private func endpoints(_ port: UInt16) -> String {
        """
        { resources: [ { "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: s,
          endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1,
          port_value: \(port) } } } } ] } ] } ] }
        """
    }

    private func clusters(_ ports: [(String, UInt16)], more: String = "") -> String {
        let all = ports.map { name, port in
            """
            { "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: \(name), \(more) load_assignment: {
              cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: {
              address: 127.0.0.1, port_value: \(port) } } } } ] } ] } }
            """
        }
        return "{ resources: [ \(all.joined(separator: ",\n")) ] }"
    }

    @Test("endpoints of a cluster change when their file is replaced, and stay when it is no good")
    func endpointsFile() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/eds.yaml"
        let cluster = """

              - name: c
                type: EDS
                eds_cluster_config:
                  service_name: s
                  eds_config: { path_config_source: { path: \(path) } }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        let group = try EventLoopGroup(count: 1, name: "peers")
        let first = try await ScriptedUpstream(on: group.all[0], ScriptedUpstream.says("first"))
        let second = try await ScriptedUpstream(on: group.all[0], ScriptedUpstream.says("second"))
        try Files.writeAtomically(path, endpoints(first.port))
        try await ProxyBench.run(head + cluster) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "first")
            for garbage in ["", "{", "resources: [ { \"@type\": nothing } ]", "resources: 3"] {
                let before = bench.server.problems.count
                try Files.writeAtomically(path, garbage)
                if !garbage.isEmpty { try await bench.until { bench.server.problems.count > before } }
                let answer = try await bench.exchange(get)
                #expect(answer.body == "first")
            }
            try Files.writeAtomically(path, endpoints(second.port))
            try await bench.until { try await bench.exchange(get).body == "second" }
            let (attempts, successes) = (
                await bench.stat("c", "update_attempt"), await bench.stat("c", "update_success")
            )
            let (failures, rejections) = (
                await bench.stat("c", "update_failure"), await bench.stat("c", "update_rejected")
            )
            #expect(failures > 0 && attempts == successes + failures + rejections)
        }
        first.close()
        second.close()
        await group.shutdown()
    }

    @Test("clusters come, change, go and are refused one by one")
    func clustersFile() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/cds.yaml"
        let head = ProxyBench.http(
            routes: """
                - match: { path: /a }
                  route: { cluster: a }
                - match: { prefix: / }
                  route: { cluster: b }
                """, clusters: 0)
        let dynamic = "\ndynamic_resources: { cds_config: { path_config_source: { path: \(path) } } }\n"
        let group = try EventLoopGroup(count: 1, name: "peers")
        let first = try await ScriptedUpstream(on: group.all[0], ScriptedUpstream.says("first"))
        let second = try await ScriptedUpstream(on: group.all[0], ScriptedUpstream.says("second"))
        try Files.writeAtomically(path, clusters([("a", first.port)]))
        let (a, b) = ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", get)
        try await ProxyBench.run(head + dynamic, workers: 2) { bench in
            let answer = try await bench.exchange(a)
            #expect(answer.body == "first")
            let none = try await bench.exchange(b)
            #expect(none.status == 503)
            try Files.writeAtomically(path, clusters([("a", second.port), ("b", first.port)]))
            try await bench.until { try await bench.exchange(b).body == "first" }
            try await bench.until { try await bench.exchange(a).body == "second" }
            // What is refused stays as it was.
            try Files.writeAtomically(
                path,
                clusters(
                    [("a", first.port), ("b", second.port)],
                    more: "lb_policy: CLUSTER_PROVIDED, filters: [ { name: x } ],"))
            try await bench.until { bench.server.problems.count >= 1 }
            let kept = try await bench.exchange(a)
            #expect(kept.body == "second")
            try Files.writeAtomically(path, clusters([("a", first.port)]))
            try await bench.until { try await bench.exchange(b).status == 503 }
            try await bench.until { try await bench.exchange(a).body == "first" }
            let samples = await bench.server.stats().samples
            let value = { (leaf: String) in samples.first { $0.name == "cluster_manager.cds.\(leaf)" }?.value }
            #expect(value("update_attempt") == 4)
            #expect(value("update_success") == 3)
            #expect(value("update_rejected") == 1)
            #expect(value("config_reload") == 3)
        }
        first.close()
        second.close()
        await group.shutdown()
    }
}
