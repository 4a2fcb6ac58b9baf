import Bytes
import ClusterDNS
import DNSMessage
import Testing

@Suite struct CorefileTests {
    static let addon = """
        .:53 {
            errors
            health {
               lameduck 5s
            }
            ready
            kubernetes cluster.local in-addr.arpa ip6.arpa {
               pods insecure
               fallthrough in-addr.arpa ip6.arpa
               ttl 30
            }
            prometheus :9153
            forward . /etc/resolv.conf {
               max_concurrent 1000
            }
            cache 30 {
               disable success cluster.local
               disable denial cluster.local
            }
            loop
            reload
            loadbalance
        }
        """

    func parse(_ text: String) throws -> ServerConfig {
        try ServerConfig(corefile: text, file: "Corefile", environment: ["UP": "192.0.2.9"]) { _ in
            "# the host's\nnameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.2\n"
        }
    }

    @Test("the Corefile that Kubernetes ships is understood whole")
    func kubernetesAddon() throws {
        let config = try parse(Self.addon)
        let block = try #require(config.blocks.first)
        #expect(config.blocks.count == 1)
        #expect(block.port == 53)
        #expect(block.zones == [.root])
        #expect(block.kubernetes?.ttl == 30)
        #expect(block.kubernetes?.zones.map(\.description) == ["cluster.local.", "in-addr.arpa.", "ip6.arpa."])
        #expect(block.forward?.upstreams.map(\.description) == ["192.0.2.1:53", "192.0.2.2:53"])
        #expect(block.forward?.maxConcurrent == 1000)
        #expect(block.cache?.positiveTTL == 30)
        #expect(config.lameDuck == .seconds(5))
        #expect(config.reloads && block.rotatesAnswers)
    }

    @Test("blocks, snippets, environment and prefixes are read")
    func syntax() throws {
        let config = try parse(
            """
            (up) {
                forward . {$UP}:5353 "192.0.2.4" # two
            }
            example.org, example.net:1053 { import up
            }
            10.96.0.0/12 {
                import up
            }
            """)
        #expect(config.blocks.map(\.port) == [53, 1053, 53])
        #expect(config.blocks[0].zones.map(\.description) == ["example.org."])
        #expect(config.blocks[2].zones.map(\.description) == ["10.in-addr.arpa."])
        #expect(config.blocks[0].forward?.upstreams.map(\.description) == ["192.0.2.9:5353", "192.0.2.4:53"])
    }

    @Test(
        "what cannot be honoured is refused by file, line and name",
        arguments: [
            (". {\n errors\n hosts /etc/hosts\n}", "Corefile:3: hosts: plugin \"hosts\" is not supported"),
            (
                ". {\n kubernetes cluster.local {\n pods verified\n }\n}",
                "Corefile:3: pods: pods must be disabled or insecure (verified is not supported)"
            ),
            (".:53 {\n errors\n", "Corefile:1: the { opened here is never closed"),
            (
                "tls://. {\n}",
                "Corefile:1: \"tls://.\": only dns:// is served; tls, https, quic and grpc are not supported"
            ),
            (". {\n}\n. {\n}", "Corefile:3: zone . on port 53 has a server block already"),
            (
                ". {\n forward . tls://9.9.9.9\n}",
                "Corefile:2: forward: \"tls://9.9.9.9\": only plain DNS upstreams are supported"
            ),
            (". {\n log \"open\n}", "Corefile:2: the quote opened here is never closed"),
            ("", "Corefile:1: no server block"),
            (". {\n kubernetes cluster.local {\n ttl 99999\n }\n}", "Corefile:3: ttl: ttl must be 0 to 3600 seconds"),
        ])
    func refusals(text: String, message: String) {
        #expect { try self.parse(text) } throws: { "\($0)" == message }
    }
}
