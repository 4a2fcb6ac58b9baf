import ClusterAPI
import Bytes
public import JSON

extension KubeProxyConfiguration {
    /// Reads a document.
    ///
    /// - Parameter file: names the document in errors.
    /// - Throws: `ConfigurationError` with file, field and expected form, for what is wrong and for what is right but
    ///   cannot be honoured here.
    public init(_ json: JSONValue, file: String) throws(ConfigurationError) {
        self.init()
        guard json["apiVersion"]?.string == Self.apiVersion, json["kind"]?.string == Self.kind,
            let object = json.object
        else { throw ConfigurationError(file, "apiVersion and kind", "must be \(Self.apiVersion) \(Self.kind)") }
        var document = ConfigurationSection(object, file: file)
        document.ignore("apiVersion", "kind")
        try readConnection(&document)
        try readLogging(&document)
        try readServing(&document)
        try readTraffic(&document)
        try readNode(&document)
        try readOtherModes(&document)
        try document.finish()
    }

    private mutating func readConnection(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        var section = try document.section("clientConnection")
        clientConnection.kubeconfig = try section.text("kubeconfig") ?? ""
        if let types = try section.text("acceptContentTypes"), !types.isEmpty {
            guard types.split(separator: ",").contains(where: { Self.isJSON($0) }) else {
                throw section.invalid("acceptContentTypes", "must allow application/json, which the client reads")
            }
            clientConnection.acceptContentTypes = types
        }
        if let type = try section.text("contentType"), !type.isEmpty {
            guard Self.isJSON(type[...]) || type == "application/vnd.kubernetes.protobuf" else {
                throw section.invalid(
                    "contentType", "must be application/json or application/vnd.kubernetes.protobuf, not \"\(type)\"")
            }
            clientConnection.contentType = type
        }
        if let qps = try section.number("qps"), qps != 0 { clientConnection.qps = qps }
        if let burst = try section.int("burst", in: 0...1_000_000), burst != 0 { clientConnection.burst = Int(burst) }
        try section.finish()
        hostnameOverride = try (document.text("hostnameOverride") ?? "").trimmed.lowercased()
        guard let period = try document.duration("configSyncPeriod"), period != .zero else { return }
        configSyncPeriod = period
    }

    private static func isJSON(_ type: Substring) -> Bool {
        type.split(separator: ";").first?.filter { $0 != " " } == "application/json"
    }

    private mutating func readLogging(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        var section = try document.section("logging")
        if let text = try section.text("format"), !text.isEmpty {
            guard let format = Logging.Format(rawValue: text) else {
                throw section.invalid("format", "must be text or json, not \"\(text)\"")
            }
            logging.format = format
        }
        logging.verbosity = Int(try section.int("verbosity", in: 0...(1 << 31)) ?? 0)
        if let modules = section.take("vmodule"), modules.array?.isEmpty == false {
            throw section.invalid("vmodule", "cannot be set: verbosity is one for all here")
        }
        // Lines are written at once, to standard error.
        section.ignore("flushFrequency")
        var options = try section.section("options")
        for format in ["text", "json"] {
            var option = try options.section(format)
            if try option.bool("splitStream") == true {
                throw option.invalid("splitStream", "cannot be true: all lines go to standard error")
            }
            option.ignore("infoBufferSize")
            try option.finish()
        }
        try options.finish()
        try section.finish()
    }

    private mutating func readServing(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        if let text = try document.text("bindAddress"), !text.isEmpty {
            guard let address = IPAddress(sloppy: text) else {
                throw document.invalid("bindAddress", "must be an IP address, not \"\(text)\"")
            }
            bindAddress = address
        }
        let isV6 = bindAddress.family == .v6
        healthzBindAddress = try Self.listener(
            "healthzBindAddress", Self.healthzPort, standard: isV6 ? .anyV6 : .anyV4, &document)
        metricsBindAddress = try Self.listener(
            "metricsBindAddress", Self.metricsPort, standard: isV6 ? .loopbackV6 : .loopbackV4, &document)
        bindAddressHardFail = try document.bool("bindAddressHardFail") ?? false
        if try document.bool("enableProfiling") == true {
            throw document.invalid("enableProfiling", "cannot be true: there is no pprof here; use perf on the process")
        }
        let hidden = try document.text("showHiddenMetricsForVersion") ?? ""
        guard ["", "1.35"].contains(hidden) else {
            throw document.invalid(
                "showHiddenMetricsForVersion", "must be the minor version before this one, 1.35, not \"\(hidden)\"")
        }
        showHiddenMetricsForVersion = hidden
    }

    /// ADDRESS:PORT, or an address that gets the usual port. Empty is the default, as in every v1alpha1 file.
    private static func listener(
        _ field: String, _ port: Port, standard: IPAddress, _ document: inout ConfigurationSection
    ) throws(ConfigurationError) -> SocketAddress {
        guard let text = try document.text(field), !text.isEmpty else { return .ip(standard, port) }
        if let address = SocketAddress(text), case .ip(_, let port, _) = address, port.rawValue > 0 { return address }
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        guard let address = IPAddress(sloppy: bare) else {
            throw document.invalid(field, "must be ADDRESS:PORT or ADDRESS, not \"\(text)\"")
        }
        return .ip(address, port)
    }

    private mutating func readTraffic(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        let mode = try document.text("mode") ?? ""
        guard ["", "nftables"].contains(mode) else {
            throw document.invalid("mode", "must be nftables or empty, not \"\(mode)\": nothing else is built in")
        }
        var section = try document.section("nftables")
        if let bit = try section.int("masqueradeBit", in: 0...31) { masqueradeBit = Int(bit) }
        masqueradeAll = try section.bool("masqueradeAll") ?? false
        if let period = try section.duration("syncPeriod"), period != .zero { syncPeriod = period }
        if let period = try section.duration("minSyncPeriod"), period != .zero, period != .seconds(1) {
            guard period <= syncPeriod else {
                throw section.invalid("minSyncPeriod", "must not be longer than syncPeriod (\(syncPeriod.goText))")
            }
            minSyncPeriod = period
        }
        try section.finish()

        for part in (try document.text("clusterCIDR") ?? "").split(separator: ",") {
            guard let prefix = CIDR(String(part).trimmed) else {
                throw document.invalid("clusterCIDR", "must be prefixes like 10.244.0.0/16, not \"\(part)\"")
            }
            guard !clusterCIDRs.contains(where: { $0.address.family == prefix.address.family }) else {
                throw document.invalid("clusterCIDR", "must be one prefix, or one of IPv4 and one of IPv6")
            }
            clusterCIDRs.append(prefix)
        }
        if let mode = try document.text("detectLocalMode"), !mode.isEmpty {
            guard let known = LocalMode(rawValue: mode) else {
                throw document.invalid(
                    "detectLocalMode",
                    "must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix, not \"\(mode)\"")
            }
            detectLocalMode = known
        }
        var local = try document.section("detectLocal")
        bridgeInterface = try local.text("bridgeInterface") ?? ""
        interfaceNamePrefix = try local.text("interfaceNamePrefix") ?? ""
        for (mode, field, value) in [
            (LocalMode.bridgeInterface, "bridgeInterface", bridgeInterface),
            (.interfaceNamePrefix, "interfaceNamePrefix", interfaceNamePrefix),
        ] {
            if detectLocalMode == mode, value.isEmpty {
                throw local.invalid(field, "is missing, which detectLocalMode \(mode.rawValue) needs")
            }
            // The kernel's IFNAMSIZ, with its zero.
            if value.utf8.count > 15 { throw local.invalid(field, "must have at most 15 bytes, not \"\(value)\"") }
        }
        try local.finish()
        try readNodePorts(&document)
    }

    private mutating func readNodePorts(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        guard let list = try document.texts("nodePortAddresses"), !list.isEmpty, list != ["primary"] else { return }
        var prefixes: [CIDR] = []
        for text in list {
            guard let prefix = CIDR(text) else {
                throw document.invalid(
                    "nodePortAddresses", "must be prefixes like 192.0.2.0/24, or \"primary\" alone, not \"\(text)\"")
            }
            prefixes.append(prefix)
        }
        nodePorts = .prefixes(prefixes)
    }

    private mutating func readNode(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        if let score = try document.int("oomScoreAdj", in: -1000...1000) { oomScoreAdj = Int(score) }
        var section = try document.section("conntrack")
        if let value = try section.int("maxPerCore", in: 0...(1 << 31 - 1)) { conntrack.maxPerCore = Int(value) }
        if let value = try section.int("min", in: 0...(1 << 31 - 1)) { conntrack.min = Int(value) }
        if let time = try section.duration("tcpEstablishedTimeout") { conntrack.tcpEstablishedTimeout = time }
        if let time = try section.duration("tcpCloseWaitTimeout") { conntrack.tcpCloseWaitTimeout = time }
        conntrack.tcpBeLiberal = try section.bool("tcpBeLiberal") ?? false
        conntrack.udpTimeout = try section.duration("udpTimeout") ?? .zero
        conntrack.udpStreamTimeout = try section.duration("udpStreamTimeout") ?? .zero
        try section.finish()

        guard let gates = document.take("featureGates") else { return }
        guard let gates = gates.object else { throw document.invalid("featureGates", "must be a mapping") }
        for (name, value) in gates {
            guard let value = value.bool else {
                throw document.invalid("featureGates.\(name)", "must be true or false")
            }
            do {
                if let remark = try featureGates.set(name, value) { remarks.append(remark) }
            } catch {
                throw document.invalid("featureGates.\(name)", error.reason)
            }
        }
    }

    /// What kube-proxy, too, reads by nobody in nftables mode on Linux; names are checked all the same.
    private func readOtherModes(_ document: inout ConfigurationSection) throws(ConfigurationError) {
        var iptables = try document.section("iptables")
        iptables.ignore(
            "masqueradeBit", "masqueradeAll", "localhostNodePorts", "snatNodeInternalIP", "syncPeriod", "minSyncPeriod")
        try iptables.finish()
        var ipvs = try document.section("ipvs")
        ipvs.ignore(
            "syncPeriod", "minSyncPeriod", "scheduler", "excludeCIDRs", "strictARP", "tcpTimeout", "tcpFinTimeout",
            "udpTimeout")
        try ipvs.finish()
        var winkernel = try document.section("winkernel")
        winkernel.ignore("networkName", "sourceVip", "enableDSR", "rootHnsEndpointName", "forwardHealthCheckVip")
        try winkernel.finish()
        // Unused since the userspace mode went.
        document.ignore("portRange")
        if try document.bool("windowsRunAsService") == true {
            throw document.invalid("windowsRunAsService", "cannot be true on Linux")
        }
    }
}

extension String {
    /// Without blanks at its ends.
    fileprivate var trimmed: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
