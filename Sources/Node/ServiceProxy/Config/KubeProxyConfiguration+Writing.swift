import ClusterAPI
import Bytes
public import JSON

extension KubeProxyConfiguration {
    /// The document that reads back as this: what `--write-config-to` writes.
    public var document: JSONValue {
        [
            "apiVersion": .string(Self.apiVersion), "kind": .string(Self.kind),
            "bindAddress": .string("\(bindAddress)"), "bindAddressHardFail": .bool(bindAddressHardFail),
            "clientConnection": [
                "acceptContentTypes": .string(clientConnection.acceptContentTypes),
                "burst": .int(Int64(clientConnection.burst)), "contentType": .string(clientConnection.contentType),
                "kubeconfig": .string(clientConnection.kubeconfig), "qps": Self.number(clientConnection.qps),
            ],
            "clusterCIDR": .string(clusterCIDRText), "configSyncPeriod": .string(configSyncPeriod.goText),
            "conntrack": [
                "maxPerCore": .int(Int64(conntrack.maxPerCore)), "min": .int(Int64(conntrack.min)),
                "tcpBeLiberal": .bool(conntrack.tcpBeLiberal),
                "tcpCloseWaitTimeout": .string(conntrack.tcpCloseWaitTimeout.goText),
                "tcpEstablishedTimeout": .string(conntrack.tcpEstablishedTimeout.goText),
                "udpStreamTimeout": .string(conntrack.udpStreamTimeout.goText),
                "udpTimeout": .string(conntrack.udpTimeout.goText),
            ],
            "detectLocal": [
                "bridgeInterface": .string(bridgeInterface), "interfaceNamePrefix": .string(interfaceNamePrefix),
            ],
            "detectLocalMode": .string(detectLocalMode.rawValue), "enableProfiling": false, "featureGates": gates,
            "healthzBindAddress": .string(healthzBindAddress.map { "\($0)" } ?? ""),
            "hostnameOverride": .string(hostnameOverride),
            "logging": [
                "format": .string(logging.format.rawValue), "verbosity": .int(Int64(logging.verbosity)),
            ],
            "metricsBindAddress": .string(metricsBindAddress.map { "\($0)" } ?? ""), "mode": "nftables",
            "nftables": [
                "masqueradeAll": .bool(masqueradeAll), "masqueradeBit": .int(Int64(masqueradeBit)),
                "minSyncPeriod": .string(minSyncPeriodText), "syncPeriod": .string(syncPeriod.goText),
            ],
            "nodePortAddresses": .array(nodePortTexts.map { .string($0) }), "oomScoreAdj": .int(Int64(oomScoreAdj)),
            "showHiddenMetricsForVersion": .string(showHiddenMetricsForVersion),
        ]
    }

    /// As kube-proxy's `/configz` shows its configuration: by the names of its internal type.
    public var configz: JSONValue {
        [
            Self.group: [
                "Linux": [
                    "Conntrack": [
                        "MaxPerCore": .int(Int64(conntrack.maxPerCore)), "Min": .int(Int64(conntrack.min)),
                        "TCPEstablishedTimeout": .string(conntrack.tcpEstablishedTimeout.goText),
                        "TCPCloseWaitTimeout": .string(conntrack.tcpCloseWaitTimeout.goText),
                        "TCPBeLiberal": .bool(conntrack.tcpBeLiberal),
                        "UDPTimeout": .string(conntrack.udpTimeout.goText),
                        "UDPStreamTimeout": .string(conntrack.udpStreamTimeout.goText),
                    ],
                    "MasqueradeAll": .bool(masqueradeAll), "OOMScoreAdj": .int(Int64(oomScoreAdj)),
                ],
                "Windows": ["RunAsService": false], "FeatureGates": gates,
                "ClientConnection": [
                    "Kubeconfig": .string(clientConnection.kubeconfig),
                    "AcceptContentTypes": .string(clientConnection.acceptContentTypes),
                    "ContentType": .string(clientConnection.contentType), "QPS": Self.number(clientConnection.qps),
                    "Burst": .int(Int64(clientConnection.burst)),
                ],
                // The one part that has names of its own there, too.
                "Logging": [
                    "format": .string(logging.format.rawValue), "verbosity": .int(Int64(logging.verbosity)),
                ],
                "HostnameOverride": .string(hostnameOverride), "BindAddress": .string("\(bindAddress)"),
                "HealthzBindAddress": .string(healthzBindAddress.map { "\($0)" } ?? ""),
                "MetricsBindAddress": .string(metricsBindAddress.map { "\($0)" } ?? ""),
                "BindAddressHardFail": .bool(bindAddressHardFail), "EnableProfiling": false,
                "ShowHiddenMetricsForVersion": .string(showHiddenMetricsForVersion), "Mode": "nftables",
                "NFTables": ["MasqueradeBit": .int(Int64(masqueradeBit))],
                "DetectLocalMode": .string(detectLocalMode.rawValue),
                "DetectLocal": [
                    "BridgeInterface": .string(bridgeInterface),
                    "ClusterCIDRs": .array(clusterCIDRs.map { .string("\($0)") }),
                    "InterfaceNamePrefix": .string(interfaceNamePrefix),
                ],
                "NodePortAddresses": .array(nodePortTexts.map { .string($0) }),
                "SyncPeriod": .string(syncPeriod.goText), "MinSyncPeriod": .string(minSyncPeriodText),
                "ConfigSyncPeriod": .string(configSyncPeriod.goText),
            ]
        ]
    }

    private var clusterCIDRText: String { clusterCIDRs.map { "\($0)" }.joined(separator: ",") }
    private var minSyncPeriodText: String { (minSyncPeriod ?? .seconds(1)).goText }

    private var gates: JSONValue {
        .object(JSONObject(featureGates.values.sorted { $0.key < $1.key }.map { ($0.key, .bool($0.value)) }))
    }

    private var nodePortTexts: [String] {
        switch nodePorts {
        case .primary: ["primary"]
        case .prefixes(let prefixes): prefixes.map { "\($0)" }
        }
    }

    /// Whole numbers without a point.
    private static func number(_ value: Double) -> JSONValue {
        Int64(exactly: value).map { .int($0) } ?? .double(value)
    }
}
