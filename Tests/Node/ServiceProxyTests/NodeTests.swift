import Bytes
import ClusterAPI
import Glibc
import JSON
import Reactor
import Testing

@testable import ServiceProxy

@Suite("Our own node")
struct NodeTests {
    private static func node(_ text: String) throws -> OwnNode { OwnNode(KubeObject(json: try JSONValue.parse(text))) }

    @Test("what counts of a Node object")
    func decoding() throws {
        let node = try Self.node(
            """
            {"metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "z1"}},
             "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
             "status": {"addresses": [{"type": "Hostname", "address": "a"}, {"type": "ExternalIP", "address": "203.0.113.9"},
              {"type": "InternalIP", "address": "192.0.2.9"}, {"type": "InternalIP", "address": "fd00::9"}]}}
            """)
        #expect(node.zone == "z1" && node.isEligible)
        #expect(node.podPrefixes == [prefix("10.244.1.0/24"), prefix("fd00:1::/64")])
        #expect(node.addresses == [address("192.0.2.9"), address("fd00::9"), address("203.0.113.9")])
    }

    @Test("load balancers must leave a node that goes")
    func eligibility() throws {
        #expect(
            try !Self.node(#"{"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}"#).isEligible)
        #expect(try !Self.node(#"{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}"#).isEligible)
        #expect(try Self.node(#"{"spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}}"#).isEligible)
    }

    /// Addresses of the Node, override, fallback, and what is primary.
    static let primaries: [(addresses: [String], override: String?, fallback: String?, primary: [String])] = [
        (["192.0.2.1", "192.0.2.2"], nil, "10.0.0.1", ["192.0.2.1"]),
        (["192.0.2.1", "fd00::1", "fd00::2"], nil, nil, ["192.0.2.1", "fd00::1"]),
        (["fd00::1", "192.0.2.1"], nil, nil, ["fd00::1", "192.0.2.1"]),
        (["192.0.2.1", "fd00::1"], "192.0.2.7", nil, ["192.0.2.7", "fd00::1"]),
        (["192.0.2.1"], "fd00::7", nil, ["fd00::7", "192.0.2.1"]), ([], nil, "10.0.0.1", ["10.0.0.1"]),
        ([], nil, nil, []),
    ]

    @Test("the primary address of each family", arguments: primaries)
    func primary(row: (addresses: [String], override: String?, fallback: String?, primary: [String])) throws {
        var node = try Self.node("{}")
        node.addresses = row.addresses.map { address($0) }
        let found = OwnNode.primaryAddresses(
            node, override: row.override.map { address($0) }, fallback: row.fallback.map { address($0) })
        #expect(found == row.primary.map { address($0) })
    }

    // MARK: Conntrack

    /// A folder of files as the kernel has them, that goes with the test.
    private final class Kernel {
        let path: String
        init(_ files: [String: String]) throws {
            var template = Array("/tmp/weft-conntrack-XXXXXX".utf8CString)
            path = try #require(mkdtemp(&template).map { String(cString: $0) })
            for (name, text) in files { try Files.writeAtomically("\(path)/\(name)", text) }
        }
        deinit { try? Files.removeTree(path) }
        func read(_ name: String) throws -> String { try Files.readText("\(path)/\(name)") }
    }

    private static func wish(_ change: (inout KubeProxyConfiguration.Conntrack) -> Void)
        -> KubeProxyConfiguration.Conntrack
    {
        var wish = KubeProxyConfiguration.Conntrack()
        change(&wish)
        return wish
    }

    @Test(
        "how many flows the kernel tracks",
        arguments: [
            (32768, 131_072, 2, 131_072), (32768, 131_072, 8, 262_144), (32768, 131_072, 96, 1_048_576),
            (0, 131_072, 8, 0), (100, 0, 8, 800), (1, 2_000_000, 8, 2_000_000),
        ])
    func maximum(row: (Int, Int, Int, Int)) {
        let wish = Self.wish { ($0.maxPerCore, $0.min) = (row.0, row.1) }
        #expect(ConntrackSettings(wish, cores: row.2).maximum == row.3)
    }

    @Test("only what differs is written, and the kernel's table of buckets only grows")
    func application() throws {
        let kernel = try Kernel([
            "nf_conntrack_max": "65536\n", "hashsize": "16384\n", "nf_conntrack_tcp_timeout_established": "432000\n",
            "nf_conntrack_tcp_timeout_close_wait": "3600\n", "nf_conntrack_tcp_be_liberal": "0\n",
            "nf_conntrack_udp_timeout": "30\n", "nf_conntrack_udp_timeout_stream": "120\n",
        ])
        let settings = ConntrackSettings(Self.wish { $0.tcpBeLiberal = true }, cores: 2)
        #expect(settings.apply(kernel: kernel.path, module: kernel.path) == [])
        #expect(try kernel.read("nf_conntrack_max").hasPrefix("131072"))
        #expect(try kernel.read("hashsize").hasPrefix("32768"))
        #expect(try kernel.read("nf_conntrack_tcp_timeout_established").hasPrefix("86400"))
        // Untouched ones end as the kernel wrote them.
        #expect(try kernel.read("nf_conntrack_tcp_timeout_close_wait") == "3600\n")
        #expect(try kernel.read("nf_conntrack_tcp_be_liberal").hasPrefix("1"))
        #expect(try kernel.read("nf_conntrack_udp_timeout") == "30\n")
        let small = ConntrackSettings(Self.wish { ($0.maxPerCore, $0.min) = (1000, 0) }, cores: 2)
        #expect(small.apply(kernel: kernel.path, module: kernel.path) == [])
        #expect(try kernel.read("nf_conntrack_max").hasPrefix("2000"))
        #expect(try kernel.read("hashsize").hasPrefix("32768"))
    }

    @Test("what cannot be set is told by its name, and the rest is set")
    func failures() throws {
        let kernel = try Kernel(["nf_conntrack_tcp_timeout_established": "432000\n"])
        let failures = ConntrackSettings(.init(), cores: 2).apply(kernel: kernel.path, module: kernel.path)
        #expect(failures.count == 2)
        #expect(failures.contains { $0.hasPrefix("nf_conntrack_tcp_timeout_close_wait is not 3600") })
        #expect(failures.contains { $0.contains("conntrack.maxPerCore: 0") })
        #expect(try kernel.read("nf_conntrack_tcp_timeout_established").hasPrefix("86400"))
    }
}
