import ArgumentParser
import JSON
import ServiceProxy

/// kube-proxy's own flags, for a service proxy in its place. With a KubeProxyConfiguration as `--config` most of them are
/// ignored, as they are there.
struct KubeProxyFlags: ParsableArguments {
    @Option(help: "Remove the service proxy's tables and kube-proxy's, and exit.")
    var cleanup: Bool?
    @Option(help: "Set the kernel's parameters that need privileges, and exit.")
    var initOnly: Bool?
    @Option(help: "Write the configuration that is in effect to this file, and exit.")
    var writeConfigTo: String?
    @Option(help: "Remove the tables of kube-proxy's nftables mode once our own are in step.")
    var removeKubeProxyTables: Bool?
    @Option(help: "Name of the Node object; wins over the config file.")
    var hostnameOverride: String?
    @Option(help: "URL of the API server; wins over the kubeconfig.")
    var master: String?
    @Option(help: "Must be nftables, the only mode here.")
    var proxyMode: String?
    @Option(help: "The node's primary address, where it is not 0.0.0.0 or ::.")
    var bindAddress: String?
    @Option(help: "End when a port for health or metrics cannot be had. Default: false.")
    var bindAddressHardFail: Bool?
    @Option(help: "Prefixes of addresses that node ports are on, with commas; or primary.")
    var nodeportAddresses: String?
    @Option(help: "Address for /metrics; empty for none. Default: 127.0.0.1:10249.")
    var metricsBindAddress: String?
    @Option(help: "Masquerade everything that is sent to cluster IPs. Default: false.")
    var masqueradeAll: Bool?
    @Option(help: "How pods' packets are known: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix.")
    var detectLocalMode: String?
    @Option(help: "The bridge of --detect-local-mode BridgeInterface.")
    var podBridgeInterface: String?
    @Option(help: "The prefix of --detect-local-mode InterfaceNamePrefix.")
    var podInterfaceNamePrefix: String?
    @Option(help: "Tracked flows a core; 0 leaves the kernel's limit alone. Default: 32768.")
    var conntrackMaxPerCore: Int?
    @Option(help: "Tracked flows at least. Default: 131072.")
    var conntrackMin: Int?
    @Option(help: "Idle time of established TCP flows; 0s leaves it alone. Default: 24h.")
    var conntrackTcpTimeoutEstablished: String?
    @Option(help: "Idle time of TCP flows that wait to be closed; 0s leaves it alone. Default: 1h.")
    var conntrackTcpTimeoutCloseWait: String?
    @Option(help: "Packets out of a TCP flow's window are tracked, too. Default: false.")
    var conntrackTcpBeLiberal: Bool?
    @Option(help: "Idle time of unanswered UDP flows; 0s leaves it alone.")
    var conntrackUdpTimeout: String?
    @Option(help: "Idle time of answered UDP flows; 0s leaves it alone.")
    var conntrackUdpTimeoutStream: String?
    @Option(help: "How gladly the kernel kills this process when memory ends. Default: -999.")
    var oomScoreAdj: Int?
    @Option(help: "Accepted for kube-proxy's sake: what is followed needs no refreshing.")
    var configSyncPeriod: String?
    @Option(help: "Requests to the API server a second. Default: 5.")
    var kubeApiQps: Double?
    @Option(help: "Requests to the API server at once. Default: 10.")
    var kubeApiBurst: Int?
    @Option(help: "Accepted for kube-proxy's sake: the client speaks JSON.")
    var kubeApiContentType: String?
    @Option(help: "NAME=true or NAME=false, with commas.")
    var featureGates: String?
    @Option(help: "Cannot be true: there is no pprof here.")
    var profiling: Bool?
    @Option(help: "Must be the minor version before this one, if any.")
    var showHiddenMetricsForVersion: String?
    @Option(help: "Twice this without writing what changed is unhealthy. Default: 30s.")
    var iptablesSyncPeriod: String?
    @Option(help: "Changes are written no more often than this. Default: at once.")
    var iptablesMinSyncPeriod: String?
    @Option(help: "Port of /healthz on all addresses; 0 for none. Rather --healthz-bind-address.")
    var healthzPort: Int?
    @Option(help: "Port of /metrics on loopback; 0 for none. Rather --metrics-bind-address.")
    var metricsPort: Int?
    @Option(name: [.customLong("v"), .customShort("v")], help: "From 4 on details are logged.")
    var verbosity: Int?
    @Option(help: "text or json. Default: text.")
    var loggingFormat: String?
    @Option(help: "Accepted for kube-proxy's sake: lines are written at once.")
    var logFlushFrequency: String?
}

extension KubeProxyFlags {
    /// The same as a document of a KubeProxyConfiguration; the reader of files checks both.
    ///
    /// - Throws: `NodeOptions.Invalid` for a feature gate without a value.
    func document() throws -> JSONValue {
        var document: JSONValue = [
            "apiVersion": .string(KubeProxyConfiguration.apiVersion), "kind": .string(KubeProxyConfiguration.kind),
        ]
        func put(_ value: JSONValue?, _ path: String...) {
            guard let value else { return }
            guard path.count > 1 else {
                document[path[0]] = value
                return
            }
            var section = document[path[0]] ?? [:]
            section[path[1]] = value
            document[path[0]] = section
        }
        func text(_ value: String?) -> JSONValue? { value.map { .string($0) } }
        func bool(_ value: Bool?) -> JSONValue? { value.map { .bool($0) } }
        func int(_ value: Int?) -> JSONValue? { value.map { .int(Int64($0)) } }
        put(text(proxyMode), "mode")
        put(text(bindAddress), "bindAddress")
        put(bool(bindAddressHardFail), "bindAddressHardFail")
        put(
            nodeportAddresses.map { .array($0.split(separator: ",").map { .string(String($0)) }) }, "nodePortAddresses")
        put(text(metricsBindAddress), "metricsBindAddress")
        put(bool(masqueradeAll), "nftables", "masqueradeAll")
        put(text(iptablesSyncPeriod), "nftables", "syncPeriod")
        put(text(iptablesMinSyncPeriod), "nftables", "minSyncPeriod")
        put(text(detectLocalMode), "detectLocalMode")
        put(text(podBridgeInterface), "detectLocal", "bridgeInterface")
        put(text(podInterfaceNamePrefix), "detectLocal", "interfaceNamePrefix")
        put(int(conntrackMaxPerCore), "conntrack", "maxPerCore")
        put(int(conntrackMin), "conntrack", "min")
        put(text(conntrackTcpTimeoutEstablished), "conntrack", "tcpEstablishedTimeout")
        put(text(conntrackTcpTimeoutCloseWait), "conntrack", "tcpCloseWaitTimeout")
        put(bool(conntrackTcpBeLiberal), "conntrack", "tcpBeLiberal")
        put(text(conntrackUdpTimeout), "conntrack", "udpTimeout")
        put(text(conntrackUdpTimeoutStream), "conntrack", "udpStreamTimeout")
        put(int(oomScoreAdj), "oomScoreAdj")
        put(text(configSyncPeriod), "configSyncPeriod")
        put(kubeApiQps.map { .double($0) }, "clientConnection", "qps")
        put(int(kubeApiBurst), "clientConnection", "burst")
        put(text(kubeApiContentType), "clientConnection", "contentType")
        put(bool(profiling), "enableProfiling")
        put(text(showHiddenMetricsForVersion), "showHiddenMetricsForVersion")
        for gate in featureGates?.split(separator: ",") ?? [] {
            let parts = gate.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, let value = Bool(parts[1]) else {
                throw NodeOptions.Invalid(description: "--feature-gates: \"\(gate)\" is not NAME=true or NAME=false")
            }
            put(.bool(value), "featureGates", parts[0])
        }
        return document
    }

    /// Those that a KubeProxyConfiguration replaces, as far as they were given.
    var replacedByFile: [String] {
        let given: [(String, Bool)] = [
            ("proxy-mode", proxyMode != nil), ("bind-address", bindAddress != nil),
            ("bind-address-hard-fail", bindAddressHardFail != nil), ("nodeport-addresses", nodeportAddresses != nil),
            ("metrics-bind-address", metricsBindAddress != nil), ("masquerade-all", masqueradeAll != nil),
            ("detect-local-mode", detectLocalMode != nil), ("pod-bridge-interface", podBridgeInterface != nil),
            ("pod-interface-name-prefix", podInterfaceNamePrefix != nil),
            ("conntrack-max-per-core", conntrackMaxPerCore != nil), ("conntrack-min", conntrackMin != nil),
            ("conntrack-tcp-timeout-established", conntrackTcpTimeoutEstablished != nil),
            ("conntrack-tcp-timeout-close-wait", conntrackTcpTimeoutCloseWait != nil),
            ("conntrack-tcp-be-liberal", conntrackTcpBeLiberal != nil),
            ("conntrack-udp-timeout", conntrackUdpTimeout != nil),
            ("conntrack-udp-timeout-stream", conntrackUdpTimeoutStream != nil),
            ("oom-score-adj", oomScoreAdj != nil), ("config-sync-period", configSyncPeriod != nil),
            ("kube-api-qps", kubeApiQps != nil), ("kube-api-burst", kubeApiBurst != nil),
            ("kube-api-content-type", kubeApiContentType != nil), ("feature-gates", featureGates != nil),
            ("profiling", profiling != nil),
            ("show-hidden-metrics-for-version", showHiddenMetricsForVersion != nil),
            ("iptables-sync-period", iptablesSyncPeriod != nil),
            ("iptables-min-sync-period", iptablesMinSyncPeriod != nil), ("healthz-port", healthzPort != nil),
            ("metrics-port", metricsPort != nil),
        ]
        return given.filter(\.1).map { "--" + $0.0 }
    }
}
