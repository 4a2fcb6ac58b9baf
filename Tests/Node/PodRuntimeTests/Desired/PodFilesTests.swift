import JSON
import Testing

@testable import PodRuntime

@Suite("the files that a pod's names come from")
struct PodFilesTests {
    private let host = ResolverConfig(
        parsing: "# by hand\nnameserver 192.0.2.53\nsearch example.org.\noptions timeout:2 ndots:1\n")

    private func resolver(_ spec: JSONValue, dns: [String] = ["10.96.0.10"]) throws -> String {
        ResolverConfig.forPod(
            try PodFixture.spec(spec: spec), clusterDNS: dns, clusterDomain: "cluster.local", host: host
        ).text
    }

    @Test("the DNS policy chooses between the cluster's and the node's servers")
    func policies() throws {
        let cluster = """
            search shop.svc.cluster.local svc.cluster.local cluster.local example.org
            nameserver 10.96.0.10
            options ndots:5

            """
        let node = "search example.org\nnameserver 192.0.2.53\noptions timeout:2 ndots:1\n"
        #expect(try resolver([:]) == cluster)
        #expect(try resolver(["hostNetwork": true]) == node)
        #expect(try resolver(["hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"]) == cluster)
        #expect(try resolver(["dnsPolicy": "Default"]) == node)
        #expect(try resolver([:], dns: []) == node)
    }

    @Test("the pod's own DNS config adds servers and domains, and replaces options of the same name")
    func ownConfig() throws {
        let config: JSONValue = [
            "nameservers": ["192.0.2.1", "10.96.0.10", "192.0.2.2", "192.0.2.3"], "searches": ["a.test"],
            "options": [["name": "ndots", "value": "2"], ["name": "edns0"]],
        ]
        #expect(
            try resolver(["dnsPolicy": "None", "dnsConfig": config])
                == "search a.test\nnameserver 192.0.2.1\nnameserver 10.96.0.10\nnameserver 192.0.2.2\noptions ndots:2 edns0\n"
        )
        let added = try resolver(["dnsConfig": config])
        #expect(added.contains("search shop.svc.cluster.local svc.cluster.local cluster.local example.org a.test\n"))
        #expect(added.contains("nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"))
        #expect(added.hasSuffix("options ndots:2 edns0\n"))
    }

    @Test("search domains beyond the C library's bounds are cut off")
    func bounds() throws {
        let many: JSONValue = .array((0..<50).map { .string("d\($0).test") })
        let text = try resolver(["dnsPolicy": "None", "dnsConfig": ["searches": many]])
        #expect(text.split(separator: "\n")[0].split(separator: " ").count == 33)
        let long: JSONValue = .array((0..<20).map { .string(String(repeating: "x", count: 200) + "\($0)") })
        #expect(try resolver(["dnsPolicy": "None", "dnsConfig": ["searches": long]]).utf8.count <= 2048 + 8)
    }

    @Test("/etc/hosts names the pod by its host name and, with a subdomain, by its full name")
    func hosts() throws {
        let plain = HostsFile.text(
            for: try PodFixture.spec(), podIPs: ["10.1.0.9"], clusterDomain: "cluster.local", node: "n", hostFile: "")
        #expect(plain.hasPrefix("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"))
        #expect(plain.hasSuffix("10.1.0.9\tweb\n"))
        let spec: JSONValue = [
            "hostname": "db-0", "subdomain": "db", "hostAliases": [["ip": "192.0.2.7", "hostnames": ["x", "y"]]],
        ]
        let full = HostsFile.text(
            for: try PodFixture.spec(spec: spec), podIPs: ["10.1.0.9", "fd00::9"], clusterDomain: "cluster.local",
            node: "n",
            hostFile: "")
        #expect(
            full.hasSuffix(
                "10.1.0.9\tdb-0.db.shop.svc.cluster.local\tdb-0\nfd00::9\tdb-0.db.shop.svc.cluster.local\tdb-0\n\n"
                    + "# Entries added by HostAliases.\n192.0.2.7\tx\ty\n"))
        let node = HostsFile.text(
            for: try PodFixture.spec(spec: ["hostNetwork": true]), podIPs: ["192.0.2.1"], clusterDomain: "c", node: "n",
            hostFile: "192.0.2.1 n\n")
        #expect(node.hasSuffix("(host network).\n192.0.2.1 n\n"))
    }

    @Test("host names are at most 63 bytes and do not end in a dash or dot")
    func hostnames() throws {
        let pod = try PodSpec(pod: PodFixture.pod(String(repeating: "a", count: 62) + "-bc"))
        #expect(HostsFile.hostname(of: pod, node: "n") == String(repeating: "a", count: 62))
    }
}
