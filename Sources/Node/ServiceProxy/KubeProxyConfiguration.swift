public import Bytes
public import JSON

/// A `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1): what of it the service proxy honours, and a refusal by
/// name of what it does not.
///
/// A field that is at its default is never refused, so that a file from `--write-config-to` can be used as it is.
public struct KubeProxyConfiguration: Sendable, Equatable {
    /// `clientConnection.kubeconfig`; nil when the file does not say.
    public var kubeconfig: String?
    /// `hostnameOverride`; nil when the file does not say.
    public var nodeName: String?
    private var clusterPrefixes: [CIDR] = []
    private var detectLocalMode: String?
    private var bridgeInterface = ""
    private var interfaceNamePrefix = ""
    private var nodePortAddresses: [String] = ["primary"]
    private var masqueradesAll = false
    private var masqueradeBit = 14
    private var minimumSyncPeriod: Duration?
    private var healthz: SocketAddress? = .ip(.anyV4, 10256)
    private var metrics: SocketAddress? = .ip(.loopbackV4, 10249)

    /// A field that cannot be honoured, with its place in the file.
    public struct Invalid: Error, CustomStringConvertible {
        public var description: String
    }

    public static let kind = "KubeProxyConfiguration"

    private static let honoured: Set<String> = [
        "apiVersion", "kind", "clientConnection", "hostnameOverride", "clusterCIDR", "detectLocalMode", "detectLocal",
        "nodePortAddresses", "nftables", "healthzBindAddress", "metricsBindAddress", "mode", "bindAddress",
        // Of other modes and systems, or about the process: read by nothing here, and harmless.
        "iptables", "ipvs", "winkernel", "logging", "configSyncPeriod", "windowsRunAsService", "portRange",
        "bindAddressHardFail", "enableProfiling", "showHiddenMetricsForVersion", "featureGates", "oomScoreAdj",
        "conntrack",
    ]

    /// Fields that change what packets meet when they are not at these values.
    private static let refusedUnless: [(path: [String], values: [JSONValue])] = [
        (["bindAddressHardFail"], [false]), (["enableProfiling"], [false]), (["windowsRunAsService"], [false]),
        (["showHiddenMetricsForVersion"], [""]), (["portRange"], [""]), (["mode"], ["", "nftables"]),
        (["oomScoreAdj"], [-999]), (["conntrack", "maxPerCore"], [32768]), (["conntrack", "min"], [131_072]),
        (["conntrack", "tcpBeLiberal"], [false]), (["conntrack", "tcpEstablishedTimeout"], ["24h0m0s", "24h"]),
        (["conntrack", "tcpCloseWaitTimeout"], ["1h0m0s", "1h"]), (["conntrack", "udpTimeout"], ["0s"]),
        (["conntrack", "udpStreamTimeout"], ["0s"]), (["featureGates"], [[:]]),
        (["clientConnection", "acceptContentTypes"], [""]),
        (["logging", "format"], ["", "text"]),
    ]

    public init(_ json: JSONValue, file: String) throws(Invalid) {
        func invalid(_ field: String, _ why: String) -> Invalid { Invalid(description: "\(file): \(field) \(why)") }
        guard json["apiVersion"]?.string == "kubeproxy.config.k8s.io/v1alpha1", json["kind"]?.string == Self.kind else {
            throw invalid("apiVersion and kind", "must be kubeproxy.config.k8s.io/v1alpha1 \(Self.kind)")
        }
        for key in json.object?.keys.map({ $0 }) ?? [] where !Self.honoured.contains(key) {
            throw invalid(key, "is no field of \(Self.kind) v1alpha1")
        }
        for (path, values) in Self.refusedUnless {
            var value: JSONValue? = json
            for part in path { value = value?[part] }
            guard let value, value != .null, !values.contains(value) else { continue }
            throw invalid(path.joined(separator: "."), "cannot be \(value.encodedString()): it is not honoured here")
        }
        func text(_ path: String...) throws(Invalid) -> String? {
            var value: JSONValue? = json
            for part in path { value = value?[part] }
            guard let value, value != .null else { return nil }
            guard let text = value.string else { throw invalid(path.joined(separator: "."), "must be text") }
            return text.isEmpty ? nil : text
        }
        kubeconfig = try text("clientConnection", "kubeconfig")
        nodeName = try text("hostnameOverride")
        for part in (try text("clusterCIDR") ?? "").split(separator: ",") {
            guard let prefix = CIDR(part) else { throw invalid("clusterCIDR", "must be prefixes, not \"\(part)\"") }
            clusterPrefixes.append(prefix)
        }
        detectLocalMode = try text("detectLocalMode")
        bridgeInterface = try text("detectLocal", "bridgeInterface") ?? ""
        interfaceNamePrefix = try text("detectLocal", "interfaceNamePrefix") ?? ""
        switch detectLocalMode {
        case nil, "ClusterCIDR", "NodeCIDR": break
        case "BridgeInterface":
            if bridgeInterface.isEmpty { throw invalid("detectLocal.bridgeInterface", "is missing") }
        case "InterfaceNamePrefix":
            if interfaceNamePrefix.isEmpty { throw invalid("detectLocal.interfaceNamePrefix", "is missing") }
        case .some(let mode): throw invalid("detectLocalMode", "cannot be \"\(mode)\"")
        }
        if let list = json["nodePortAddresses"]?.array, !list.isEmpty {
            nodePortAddresses = list.compactMap(\.string)
            let isPrimary = nodePortAddresses == ["primary"]
            guard nodePortAddresses.count == list.count, isPrimary || nodePortAddresses.allSatisfy({ CIDR($0) != nil })
            else { throw invalid("nodePortAddresses", "must be prefixes, or \"primary\" alone") }
        }
        masqueradesAll = json["nftables"]?["masqueradeAll"]?.bool ?? false
        if let bit = json["nftables"]?["masqueradeBit"], bit != .null {
            guard let number = bit.int, (0...31).contains(number) else {
                throw invalid("nftables.masqueradeBit", "must be 0 to 31")
            }
            masqueradeBit = Int(number)
        }
        if let text = try text("nftables", "minSyncPeriod"), text != "1s" {
            guard let period = Duration(goText: text) else {
                throw invalid("nftables.minSyncPeriod", "must be a duration like 1s, not \"\(text)\"")
            }
            minimumSyncPeriod = period
        }
        func listener(_ field: String, _ port: UInt16, _ fallback: SocketAddress?) throws(Invalid) -> SocketAddress? {
            guard let value = try text(field) else { return json[field]?.string == "" ? nil : fallback }
            if let address = SocketAddress(value) { return address }
            guard let address = IPAddress(value) else { throw invalid(field, "must be ADDRESS:PORT, not \"\(value)\"") }
            return .ip(address, Port(port))
        }
        healthz = try listener("healthzBindAddress", 10256, healthz)
        metrics = try listener("metricsBindAddress", 10249, metrics)
    }

    /// What the proxy is to do.
    ///
    /// - Parameters:
    ///   - nodePrefixes: the node's own pod prefixes, for `detectLocalMode: NodeCIDR`.
    ///   - primary: the node's primary addresses, for node ports.
    public func configuration(_ node: NodeIdentity, nodePrefixes: [CIDR], primary: [IPAddress])
        -> ServiceProxyConfiguration
    {
        var configuration = ServiceProxyConfiguration(node: node)
        switch detectLocalMode {
        case "BridgeInterface": configuration.localDetector = .bridgeInterface(bridgeInterface)
        case "InterfaceNamePrefix": configuration.localDetector = .interfaceNamePrefix(interfaceNamePrefix)
        case "NodeCIDR": configuration.localDetector = nodePrefixes.isEmpty ? .none : .prefixes(nodePrefixes)
        default: configuration.localDetector = clusterPrefixes.isEmpty ? .none : .prefixes(clusterPrefixes)
        }
        if nodePortAddresses == ["primary"] {
            configuration.nodePortAddresses = .addresses(primary)
        } else {
            let prefixes = nodePortAddresses.compactMap { CIDR($0) }
            let isEverything = prefixes.allSatisfy { $0.prefixLength == 0 }
            configuration.nodePortAddresses = isEverything ? .all : .prefixes(prefixes)
        }
        configuration.masqueradesAll = masqueradesAll
        configuration.masqueradeMark = 1 << UInt32(masqueradeBit)
        if let minimumSyncPeriod { configuration.minimumSyncPeriod = minimumSyncPeriod }
        configuration.healthzAddress = healthz
        configuration.metricsAddress = metrics
        return configuration
    }
}

extension Duration {
    /// As Go writes durations: `1h30m`, `10s`, `1.5s`, `200ms`. nil for anything else.
    init?(goText text: String) {
        var total = Duration.zero
        var rest = text[...]
        while !rest.isEmpty {
            let number = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !$0.isNumber }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(number), value < 1e9 else { return nil }
            switch unit {
            case "h": total += .seconds(value * 3600)
            case "m": total += .seconds(value * 60)
            case "s": total += .seconds(value)
            case "ms": total += .milliseconds(value)
            case "us", "µs": total += .microseconds(value)
            default: return nil
            }
        }
        guard !text.isEmpty else { return nil }
        self = total
    }
}
