import Bytes
import Glibc
import Reactor
import XDS

extension FilterChain {
    /// An `envoy.config.listener.v3.FilterChain`.
    convenience init(_ node: ConfigNode, index: Int, _ context: BuildContext) throws(ConfigError) {
        let match = try node.message("filter_chain_match", FilterChainMatch.init) ?? FilterChainMatch()
        let security =
            try node.message("transport_socket") { (node) throws(ConfigError) in
                try DownstreamSecurity.read(node, context)
            } ?? nil
        var filters: [NetworkFilter] = []
        var terminal: TerminalFilter?
        for filter in node.messages("filters") {
            guard terminal == nil else { throw filter.error("a filter behind the terminal one") }
            let name = filter.string("name")
            guard let config = try filter.typed("typed_config") else {
                throw filter.error("typed_config", "filter \"\(name)\" has no configuration")
            }
            if let end = try TerminalFilter(config, context) {
                terminal = end
            } else if let passing = try NetworkFilter(config, context) {
                filters.append(passing)
            } else {
                throw filter.error("typed_config", "network filter \(config.typeName) is not supported")
            }
        }
        guard let terminal else { throw node.error("filters", "no terminal filter, such as a connection manager") }
        let stats = security.flatMap { _ in context.listenerStatName }.map {
            context.stats(SecurityStat.self, .listener($0))
        }
        let name = node.string("name")
        let metadata = node.message("metadata").map(RouteEntry.metadata)
        let unanswered = metadata?[ListenersOnDemand.metadata]?[ListenersOnDemand.unansweredCluster]?.string
        if unanswered != nil {
            guard case .tcpProxy = terminal else {
                throw node.error("metadata", "\(ListenersOnDemand.unansweredCluster) is for chains with a TCP proxy")
            }
        }
        self.init(
            name: name.isEmpty ? "chain-\(index)" : name, match: match, security: security, filters: filters,
            terminal: terminal, fingerprint: node.message.fingerprint(),
            securityStats: stats,
            handshakeTimeout: node.nanoseconds("transport_socket_connect_timeout", default: 0),
            unansweredCluster: unanswered.map { ClusterID($0) })
    }
}

extension NetworkFilter {
    /// nil for a type that is none of these.
    init?(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        switch node.typeName {
        case "envoy.extensions.filters.network.rbac.v3.RBAC": self = .rbac(try NetworkRBAC(node, context))
        case "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit":
            self = .connectionLimit(ConnectionLimit(node, context))
        case "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit":
            self = .localRateLimit(try ConnectionRateLimit(node, context))
        case "envoy.extensions.filters.network.sni_cluster.v3.SniCluster": self = .serverNameCluster
        default: return nil
        }
    }
}

extension TerminalFilter {
    /// nil for a type that is none of these.
    init?(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        switch node.typeName {
        case "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager":
            self = .connectionManager(try ConnectionManager(node, context).registered(context))
        case "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": self = .tcpProxy(try TCPProxy(node, context))
        case "envoy.extensions.filters.network.echo.v3.Echo": self = .echo
        case "envoy.extensions.filters.network.direct_response.v3.Config":
            self = .directResponse(try node.message("response", DataSource.inline) ?? [])
        default: return nil
        }
    }
}

extension FilterChainMatch {
    /// An `envoy.config.listener.v3.FilterChainMatch`.
    init(_ node: ConfigNode) throws(ConfigError) {
        func prefixes(_ name: String) throws(ConfigError) -> [CIDR] {
            try node.messages(name) { (range) throws(ConfigError) in try CIDR(range) }
        }
        func ports(_ name: String) throws(ConfigError) -> [Port] {
            var ports: [Port] = []
            for number in node.uint32s(name) {
                guard let port = UInt16(exactly: number) else { throw node.error(name, "\(number) is no port") }
                ports.append(Port(port))
            }
            return ports
        }
        var destination: Port?
        if let number = node.uint32IfSet("destination_port") {
            guard let port = UInt16(exactly: number) else {
                throw node.error("destination_port", "\(number) is no port")
            }
            destination = Port(port)
        }
        let source: SourceType =
            switch try node.enumeration("source_type", as: ConfigSourceType.self) {
            case .any: .any
            case .local: .sameAddressOrLoopback
            case .external: .external
            }
        self.init(
            destinationPort: destination, destinationPrefixes: try prefixes("prefix_ranges"),
            serverNames: node.strings("server_names"), transportProtocol: node.string("transport_protocol"),
            applicationProtocols: node.strings("application_protocols"),
            directSourcePrefixes: try prefixes("direct_source_prefix_ranges"), sourceType: source,
            sourcePrefixes: try prefixes("source_prefix_ranges"), sourcePorts: try ports("source_ports"))
    }

    private enum ConfigSourceType: String, ConfigEnum {
        case any = "ANY"
        case local = "SAME_IP_OR_LOOPBACK"
        case external = "EXTERNAL"
    }
}

extension CIDR {
    /// An `envoy.config.core.v3.CidrRange`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let text = node.string("address_prefix")
        let length = node.uint32("prefix_len", default: 0)
        guard let address = IPAddress(text), length <= UInt32(address.bitWidth),
            let prefix = CIDR("\(address)/\(length)")
        else { throw node.error("\(text)/\(length) is no prefix") }
        self = prefix
    }
}

/// An `envoy.config.core.v3.DataSource`.
enum DataSource {
    static func inline(_ node: ConfigNode) throws(ConfigError) -> [UInt8] {
        switch node.choice("specifier") {
        case "inline_string": return Array(node.string("inline_string").utf8)
        case "inline_bytes": return node.bytes("inline_bytes")
        case "filename":
            let path = node.string("filename")
            do { return try Files.read(path) } catch { throw node.error("filename", "\(error)") }
        case "environment_variable":
            let name = node.string("environment_variable")
            guard let value = getenv(name) else { throw node.error("environment_variable", "\(name) is not set") }
            return Array(String(cString: value).utf8)
        default: return []
        }
    }
}
