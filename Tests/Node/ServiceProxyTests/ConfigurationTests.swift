import ClusterAPI
import Bytes
import JSON
import Testing

@testable import ServiceProxy

@Suite("KubeProxyConfiguration")
struct ConfigurationTests {
    private static func parse(_ fields: String) throws -> KubeProxyConfiguration {
        try KubeProxyConfiguration(
            JSONValue.parse(
                #"{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"\#(fields)}"#),
            file: "proxy.yaml")
    }

    private static func configuration(_ fields: String) throws -> ServiceProxyConfiguration {
        try parse(fields).proxyConfiguration(NodeIdentity(name: "n"), address: address("192.0.2.1"))
    }

    @Test("an empty one is kube-proxy's defaults for nftables")
    func defaults() throws {
        let file = try Self.parse("")
        #expect(file == KubeProxyConfiguration())
        #expect(file.clientConnection.qps == 5 && file.clientConnection.burst == 10 && file.oomScoreAdj == -999)
        let configuration = try Self.configuration("")
        #expect(configuration.masqueradeMark == 0x4000)
        #expect(configuration.localDetector == .none)
        #expect(configuration.nodePortAddresses == .primary && configuration.nodeAddress == address("192.0.2.1"))
        #expect(configuration.healthzAddress == .ip(.anyV4, 10256))
        #expect(configuration.metricsAddress == .ip(.loopbackV4, 10249))
        #expect(configuration.patience == .seconds(60))
    }

    @Test("the one that kubeadm writes is taken as it is")
    func kubeadm() throws {
        let file = try Self.parse(
            """
            , "bindAddress": "0.0.0.0", "bindAddressHardFail": false, "clientConnection": {"acceptContentTypes": "",
            "burst": 0, "contentType": "", "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 0},
            "clusterCIDR": "10.244.0.0/16", "configSyncPeriod": "0s", "conntrack": {"maxPerCore": null, "min": null,
            "tcpBeLiberal": false, "tcpCloseWaitTimeout": null, "tcpEstablishedTimeout": null, "udpStreamTimeout": "0s",
            "udpTimeout": "0s"}, "detectLocal": {"bridgeInterface": "", "interfaceNamePrefix": ""},
            "detectLocalMode": "", "enableProfiling": false, "healthzBindAddress": "", "hostnameOverride": "",
            "iptables": {"localhostNodePorts": null, "masqueradeAll": false, "masqueradeBit": null,
            "minSyncPeriod": "0s", "syncPeriod": "0s"}, "ipvs": {"excludeCIDRs": null, "minSyncPeriod": "0s",
            "scheduler": "", "strictARP": false, "syncPeriod": "0s", "tcpFinTimeout": "0s", "tcpTimeout": "0s",
            "udpTimeout": "0s"}, "logging": {"flushFrequency": 0, "options": {"json": {"infoBufferSize": "0"},
            "text": {"infoBufferSize": "0"}}, "verbosity": 0}, "metricsBindAddress": "", "mode": "",
            "nftables": {"masqueradeAll": false, "masqueradeBit": null, "minSyncPeriod": "0s", "syncPeriod": "0s"},
            "nodePortAddresses": null, "oomScoreAdj": null, "portRange": "", "showHiddenMetricsForVersion": "",
            "winkernel": {"enableDSR": false, "forwardHealthCheckVip": false, "networkName": "",
            "rootHnsEndpointName": "", "sourceVip": ""}
            """)
        var expected = KubeProxyConfiguration()
        expected.clientConnection.kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf"
        expected.clusterCIDRs = [prefix("10.244.0.0/16")]
        #expect(file == expected)
    }

    /// Every field at a value of its own.
    private static let everything = """
        , "mode": "nftables", "clusterCIDR": "10.244.0.0/16,fd00::/48", "nodePortAddresses": ["192.0.2.0/24"],
        "nftables": {"masqueradeAll": true, "masqueradeBit": 15, "minSyncPeriod": "250ms", "syncPeriod": "10s"},
        "healthzBindAddress": "127.0.0.1", "metricsBindAddress": "[::1]:9999", "bindAddress": "192.0.2.7",
        "bindAddressHardFail": true, "hostnameOverride": " Node-A ", "oomScoreAdj": -500, "configSyncPeriod": "1m",
        "clientConnection": {"kubeconfig": "/etc/x", "qps": 7.5, "burst": 20, "contentType": "application/json",
        "acceptContentTypes": "application/vnd.kubernetes.protobuf,application/json"},
        "logging": {"format": "json", "verbosity": 4, "flushFrequency": "5s"},
        "featureGates": {"AllowServiceExternalIPs": false, "SomethingElse": true},
        "conntrack": {"maxPerCore": 100, "min": 7, "tcpBeLiberal": true, "tcpEstablishedTimeout": "1h30m",
        "tcpCloseWaitTimeout": "10s", "udpTimeout": "5s", "udpStreamTimeout": "2m"},
        "detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"},
        "showHiddenMetricsForVersion": "1.35"
        """

    @Test("what is honoured is")
    func honoured() throws {
        let file = try Self.parse(Self.everything)
        let configuration = try Self.configuration(Self.everything)
        #expect(file.clusterCIDRs == [prefix("10.244.0.0/16"), prefix("fd00::/48")])
        #expect(configuration.nodePortAddresses == .prefixes([prefix("192.0.2.0/24")]))
        #expect(configuration.masqueradeMark == 0x8000 && configuration.masqueradesAll)
        #expect(configuration.minimumSyncPeriod == .milliseconds(250) && configuration.patience == .seconds(20))
        #expect(configuration.healthzAddress == .ip(.loopbackV4, 10256))
        #expect(configuration.metricsAddress == .ip(.loopbackV6, 9999))
        #expect(configuration.bindFailureIsFatal && !configuration.allowsExternalIPs)
        #expect(configuration.nodeAddressOverride == address("192.0.2.7"))
        #expect(configuration.localDetector == .bridgeInterface("cni0"))
        #expect(file.hostnameOverride == "node-a" && file.oomScoreAdj == -500)
        #expect(file.clientConnection.qps == 7.5 && file.clientConnection.burst == 20)
        #expect(file.logging.format == .json && file.logging.verbosity == 4)
        #expect(file.conntrack.maxPerCore == 100 && file.conntrack.tcpEstablishedTimeout == .seconds(5400))
        #expect(file.remarks.count == 1 && file.remarks[0].contains("SomethingElse"))
        #expect(try Self.configuration(#", "bindAddress": "::""#).healthzAddress == .ip(.anyV6, 10256))
        #expect(try Self.configuration(#", "detectLocalMode": "NodeCIDR""#).localDetector == .nodePrefixes)
        #expect(try Self.configuration(#", "nodePortAddresses": ["0.0.0.0/0", "::/0"]"#).nodePortAddresses == .all)
    }

    @Test("what is written reads back as the same", arguments: ["", everything])
    func roundTrip(fields: String) throws {
        let file = try Self.parse(fields)
        #expect(try KubeProxyConfiguration(file.document, file: "again") == file)
    }

    @Test("/configz has kube-proxy's names")
    func configz() throws {
        let shown = try Self.parse(Self.everything).configz["kubeproxy.config.k8s.io"]
        #expect(shown?["Mode"] == "nftables" && shown?["SyncPeriod"] == "10s")
        #expect(shown?["Linux"]?["Conntrack"]?["TCPEstablishedTimeout"] == "1h30m0s")
        #expect(shown?["DetectLocal"]?["ClusterCIDRs"] == ["10.244.0.0/16", "fd00::/48"])
    }

    static let refused: [(String, String)] = [
        (#", "mode": "ipvs""#, "mode"), (#", "nodeportAddresses": []"#, "nodeportAddresses"),
        (#", "enableProfiling": true"#, "enableProfiling"), (#", "clusterCIDR": "10.0.0""#, "clusterCIDR"),
        (#", "clusterCIDR": "10.0.0.0/8,10.1.0.0/16""#, "clusterCIDR"),
        (#", "conntrack": {"maxPerCore": -1}"#, "conntrack.maxPerCore"),
        (#", "conntrack": {"tcpEstablishedTimeout": "1 day"}"#, "conntrack.tcpEstablishedTimeout"),
        (#", "conntrack": {"tcpTimeout": "1s"}"#, "conntrack.tcpTimeout"),
        (#", "detectLocalMode": "BridgeInterface""#, "detectLocal.bridgeInterface"),
        (#", "detectLocal": {"interfaceNamePrefix": "a-name-of-16-byt"}"#, "detectLocal.interfaceNamePrefix"),
        (#", "detectLocalMode": "Guess""#, "detectLocalMode"),
        (#", "nftables": {"masqueradeBit": 32}"#, "nftables.masqueradeBit"),
        (#", "nftables": {"masqueradeAll": "yes"}"#, "nftables.masqueradeAll"),
        (#", "nftables": {"minSyncPeriod": "40s"}"#, "nftables.minSyncPeriod"),
        (#", "nftables": {"syncPeriod": "-1s"}"#, "nftables.syncPeriod"),
        (#", "nodePortAddresses": ["primary", "10.0.0.0/8"]"#, "nodePortAddresses"),
        (#", "healthzBindAddress": "here""#, "healthzBindAddress"),
        (#", "metricsBindAddress": "127.0.0.1:0""#, "metricsBindAddress"), (#", "bindAddress": "here""#, "bindAddress"),
        (#", "oomScoreAdj": 1001"#, "oomScoreAdj"), (#", "windowsRunAsService": true"#, "windowsRunAsService"),
        (#", "showHiddenMetricsForVersion": "1.20""#, "showHiddenMetricsForVersion"),
        (#", "featureGates": {"NFTablesProxyMode": false}"#, "featureGates.NFTablesProxyMode"),
        (#", "featureGates": {"ComponentFlagz": true}"#, "featureGates.ComponentFlagz"),
        (#", "featureGates": {"A": 1}"#, "featureGates.A"), (#", "logging": {"format": "xml"}"#, "logging.format"),
        (#", "logging": {"vmodule": [{}]}"#, "logging.vmodule"),
        (#", "logging": {"options": {"json": {"splitStream": true}}}"#, "logging.options.json.splitStream"),
        (#", "clientConnection": {"contentType": "text/html"}"#, "clientConnection.contentType"),
        (#", "clientConnection": {"qps": "5"}"#, "clientConnection.qps"),
        (#", "iptables": {"masquerade": 1}"#, "iptables.masquerade"), (#", "ipvs": []"#, "ipvs"),
        (
            #", "clientConnection": {"acceptContentTypes": "application/vnd.kubernetes.protobuf"}"#,
            "clientConnection.acceptContentTypes"
        ),
    ]

    @Test("what cannot be honoured is refused by its name", arguments: refused)
    func refusals(row: (String, String)) throws {
        let error = #expect(throws: ConfigurationError.self) { try Self.parse(row.0) }
        #expect(error?.description.hasPrefix("proxy.yaml: \(row.1) ") == true, "\(String(describing: error))")
    }

    @Test(
        "durations are read and written as in Go",
        arguments: [
            ("0s", 0.0), ("24h0m0s", 86400), ("1m30s", 90), ("1h0m0.5s", 3600.5), ("250ms", 0.25), ("15µs", 0.000015),
            ("1.5ms", 0.0015), ("-2s", -2),
        ])
    func durations(row: (String, Double)) {
        let duration = Duration.seconds(row.1)
        #expect(Duration(goText: row.0) == duration && duration.goText == row.0, "\(duration.goText)")
    }

    @Test("what is no duration is none", arguments: ["", "-", "5", "s", "1d", "1s2", "1..5s", "1e9h"])
    func notDurations(text: String) { #expect(Duration(goText: text) == nil) }

    @Test("node ports of a family without a prefix are on all addresses, and a primary loopback is none")
    func nodePortScope() throws {
        var configuration = ServiceProxyConfiguration(node: NodeIdentity(name: "n"))
        let all: Set = [address("192.0.2.1"), address("198.51.100.1"), address("fd00::1")]
        configuration.nodePortAddresses = .prefixes([prefix("192.0.2.0/24")])
        #expect(configuration.nodePortScope(.v4) == .listed && configuration.nodePortScope(.v6) == .allLocal)
        #expect(configuration.listedNodePortAddresses(among: all, primary: []) == [address("192.0.2.1")])
        configuration.nodePortAddresses = .prefixes([prefix("0.0.0.0/0"), prefix("fd00::/16")])
        #expect(configuration.nodePortScope(.v4) == .allLocal && configuration.nodePortScope(.v6) == .listed)
        configuration.nodePortAddresses = .primary
        let primary = [address("127.0.0.1"), address("fd00::1")]
        #expect(configuration.listedNodePortAddresses(among: all, primary: primary) == [address("fd00::1")])
    }
}
