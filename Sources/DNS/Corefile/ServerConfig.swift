import Bytes
import DNSMessage
import Reactor

/// What a Corefile asks for, understood and checked: every directive is honoured or refused by name.
public struct ServerConfig: Sendable {
    public struct Block: Sendable {
        public var zones: [DNSName]
        public var port: UInt16
        /// Empty: all addresses.
        public var bind: [IPAddress] = []
        public var kubernetes: ClusterZoneOptions?
        /// Where the kubeconfig of this block is; nil is the pod's own service account.
        public var kubeconfig: String?
        public var forward: ForwardOptions?
        public var cache: CacheOptions?
        public var logsQueries = false
        public var rotatesAnswers = false
    }

    public var blocks: [Block]
    /// `health`'s and `ready`'s and `prometheus`' addresses; nil when absent.
    public var health: SocketAddress?
    public var lameDuck: Duration = .zero
    public var ready: SocketAddress?
    public var metrics: SocketAddress?
    /// Whether changes of the file are picked up.
    public var reloads = false
    public var reloadInterval: Duration = .seconds(30)

    /// - Parameters:
    ///   - defaultPort: for blocks that name none (`-dns.port`).
    ///   - readFile: how `forward` reads a resolv.conf.
    public init(
        corefile text: String, file: String, defaultPort: UInt16 = 53, environment: [String: String] = [:],
        readFile: (String) throws -> String
    ) throws(CorefileError) {
        let syntax = try CorefileSyntax(text, file: file, environment: environment)
        blocks = []
        for block in syntax.blocks {
            try add(block, file: file, defaultPort: defaultPort, readFile: readFile)
        }
        guard !blocks.isEmpty else { throw CorefileError(file: file, line: 1, "no server block") }
    }

    private mutating func add(
        _ syntax: CorefileSyntax.Block, file: String, defaultPort: UInt16, readFile: (String) throws -> String
    ) throws(CorefileError) {
        var byPort: [UInt16: [DNSName]] = [:]
        for key in syntax.keys {
            let (zones, port) = try Self.zones(key, defaultPort, file: file, line: syntax.line)
            byPort[port, default: []] += zones
        }
        for (port, zones) in byPort.sorted(by: { $0.key < $1.key }) {
            var block = Block(zones: zones, port: port)
            for directive in syntax.directives { try apply(directive, to: &block, file: file, readFile: readFile) }
            for other in blocks where other.port == port {
                if let twice = other.zones.first(where: block.zones.contains) {
                    throw CorefileError(
                        file: file, line: syntax.line, "zone \(twice) on port \(port) has a server block already")
                }
            }
            blocks.append(block)
        }
    }

    /// Zone and port of a block's key. A CIDR prefix is the reverse zones that cover it.
    private static func zones(
        _ key: String, _ defaultPort: UInt16, file: String, line: Int
    ) throws(CorefileError) -> ([DNSName], UInt16) {
        var rest = key
        if let scheme = rest.firstRange(of: "://") {
            guard rest[..<scheme.lowerBound] == "dns" else {
                throw CorefileError(
                    file: file, line: line,
                    "\"\(key)\": only dns:// is served; tls, https, quic and grpc are not supported")
            }
            rest = String(rest[scheme.upperBound...])
        }
        var port = defaultPort
        if let colon = rest.lastIndex(of: ":"), let number = UInt16(rest[rest.index(after: colon)...]) {
            port = number
            rest = String(rest[..<colon])
        }
        if rest.isEmpty { rest = "." }
        if let prefix = CIDR(rest) { return (reverseZones(prefix), port) }
        guard let zone = DNSName(rest) else { throw CorefileError(file: file, line: line, "\"\(key)\" is not a zone") }
        return ([zone], port)
    }

    private mutating func apply(
        _ directive: CorefileSyntax.Directive, to block: inout Block, file: String, readFile: (String) throws -> String
    ) throws(CorefileError) {
        let reader = DirectiveReader(directive, file: file)
        switch directive.name {
        case "errors", "loop", "bufsize", "reload", "loadbalance", "log", "health", "ready", "prometheus", "bind":
            try applySimple(reader, to: &block)
        case "cache": block.cache = try CacheOptions(reader)
        case "forward": block.forward = try ForwardOptions(reader, readFile: readFile)
        case "kubernetes": try applyKubernetes(reader, to: &block)
        default: throw reader.error("plugin \"\(directive.name)\" is not supported")
        }
    }

    private mutating func applySimple(_ reader: DirectiveReader, to block: inout Block) throws(CorefileError) {
        let arguments = reader.directive.arguments
        switch reader.directive.name {
        case "log": block.logsQueries = true
        case "loadbalance":
            guard arguments.isEmpty || arguments == ["round_robin"] else {
                throw reader.error("only round_robin is supported")
            }
            block.rotatesAnswers = true
        case "health":
            health = try reader.address(arguments.first ?? ":8080")
            for property in reader.properties {
                guard property.directive.name == "lameduck" else { throw property.unknown() }
                lameDuck = try property.duration(property.argument())
            }
        case "ready": ready = try reader.address(arguments.first ?? ":8181")
        case "prometheus": metrics = try reader.address(arguments.first ?? "localhost:9153")
        case "reload":
            reloads = true
            if let text = arguments.first { reloadInterval = max(.seconds(2), try reader.duration(text)) }
        case "bind":
            for text in arguments {
                guard let address = IPAddress(text) else { throw reader.error("\"\(text)\" is not an IP address") }
                block.bind.append(address)
            }
        case "bufsize":
            if let text = arguments.first, let size = Int(text), size < DNSAnswerWriter.payloadSize {
                throw reader.error(
                    "answers are limited to \(DNSAnswerWriter.payloadSize) bytes; a smaller limit is not supported")
            }
        // `errors` and `loop` are always on: failures are logged, and a forward loop is noticed without a test query.
        default: break
        }
    }

    private mutating func applyKubernetes(_ reader: DirectiveReader, to block: inout Block) throws(CorefileError) {
        var zones: [DNSName] = []
        for text in reader.directive.arguments {
            if let prefix = CIDR(text) {
                zones += reverseZones(prefix)
            } else if let zone = DNSName(text) {
                zones.append(zone)
            } else {
                throw reader.error("\"\(text)\" is not a zone")
            }
        }
        var options = ClusterZoneOptions(zones: zones.isEmpty ? block.zones : zones)
        for property in reader.properties {
            let arguments = property.directive.arguments
            switch property.directive.name {
            case "ttl":
                guard let ttl = UInt32(try property.argument()), ttl <= 3600 else {
                    throw property.error("ttl must be 0 to 3600 seconds")
                }
                options.ttl = ttl
            case "pods":
                switch try property.argument() {
                case "disabled": options.pods = .disabled
                case "insecure": options.pods = .insecure
                default: throw property.error("pods must be disabled or insecure (verified is not supported)")
                }
            case "fallthrough":
                options.fallthroughZones = arguments.isEmpty ? options.zones : arguments.compactMap { DNSName($0) }
            case "namespaces": options.namespaces = Set(arguments)
            case "endpoint_pod_names": options.namesEndpointsByPod = true
            case "kubeconfig": block.kubeconfig = try property.argument()
            case "ignore":
                guard arguments == ["empty_service"] else { throw property.unknown() }
                options.ignoresEmptyServices = true
            default: throw property.unknown()
            }
        }
        block.kubernetes = options
    }
}

/// The reverse zones that cover a prefix, at the border of an octet or nibble at or above it.
func reverseZones(_ prefix: CIDR) -> [DNSName] {
    let name = DNSName(reverse: prefix.network.address)
    let step = prefix.address.family == .v4 ? 8 : 4
    let drop = (Int(prefix.address.bitWidth) - Int(prefix.prefixLength) + step - 1) / step
    var zone: DNSName? = name
    for _ in 0..<drop { zone = zone?.parent }
    return [zone].compactMap { $0 }
}

/// A directive with its place, for values and errors.
struct DirectiveReader {
    let directive: CorefileSyntax.Directive
    let file: String

    init(_ directive: CorefileSyntax.Directive, file: String) {
        self.directive = directive
        self.file = file
    }

    var properties: [DirectiveReader] { directive.properties.map { DirectiveReader($0, file: file) } }

    func error(_ reason: String) -> CorefileError {
        CorefileError(file: file, line: directive.line, "\(directive.name): \(reason)")
    }

    func unknown() -> CorefileError { error("this option is not supported") }

    /// The first argument.
    func argument() throws(CorefileError) -> String {
        guard let text = directive.arguments.first else { throw error("a value is missing") }
        return text
    }

    /// `host:port` or `:port`.
    func address(_ text: String) throws(CorefileError) -> SocketAddress {
        var text = text
        if text.hasPrefix(":") { text = "0.0.0.0" + text }
        if text.hasPrefix("localhost:") { text = "127.0.0.1" + text.dropFirst("localhost".count) }
        guard let address = IPEndpoint(text) else { throw error("\"\(text)\" is not an address like :8080") }
        return SocketAddress(address)
    }

    /// Go's form: `5s`, `1m30s`, `250ms`; a bare number is seconds.
    func duration(_ text: String) throws(CorefileError) -> Duration {
        if let seconds = Int64(text), seconds >= 0 { return .seconds(seconds) }
        var total = Duration.zero
        var rest = text[...]
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let amount = Double(digits), amount.isFinite, amount < 1e9 else {
                throw error("\"\(text)\" is not a duration")
            }
            switch unit {
            case "ms": total += .milliseconds(Int64(amount))
            case "s": total += .milliseconds(Int64(amount * 1000))
            case "m": total += .milliseconds(Int64(amount * 60_000))
            case "h": total += .milliseconds(Int64(amount * 3_600_000))
            default: throw error("\"\(text)\" is not a duration like 5s")
            }
        }
        return total
    }
}
