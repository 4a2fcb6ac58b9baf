import Bytes
import DNSMessage

/// The `forward` plugin's options.
public struct ForwardOptions: Sendable {
    public enum Policy: Sendable { case random, roundRobin, sequential }

    /// Questions under it are forwarded.
    public var zone: DNSName
    public var upstreams: [IPEndpoint]
    public var policy = Policy.random
    /// Questions under way at most; beyond it they are refused. 0: only the hard limit.
    public var maxConcurrent = 0
    public var usesTCP = false
    public var exceptions: [DNSName] = []
    /// An upstream that failed this many times in a row is passed over while others are well.
    public var maxFails = 2

    static let upstreamLimit = 15

    init(_ reader: DirectiveReader, readFile: (String) throws -> String) throws(CorefileError) {
        let arguments = reader.directive.arguments
        guard let from = arguments.first, let zone = DNSName(from), arguments.count > 1 else {
            throw reader.error("expected a zone and at least one upstream")
        }
        self.zone = zone
        upstreams = []
        for text in arguments.dropFirst() { upstreams += try Self.upstreams(text, reader, readFile) }
        guard upstreams.count <= Self.upstreamLimit else {
            throw reader.error("more than \(Self.upstreamLimit) upstreams")
        }
        for property in reader.properties {
            switch property.directive.name {
            case "max_concurrent": maxConcurrent = max(0, Int(try property.argument()) ?? 0)
            case "max_fails": maxFails = max(0, Int(try property.argument()) ?? 2)
            case "force_tcp": usesTCP = true
            case "prefer_udp": usesTCP = false
            case "except": exceptions += property.directive.arguments.compactMap { DNSName($0) }
            case "policy":
                switch try property.argument() {
                case "random": policy = .random
                case "round_robin": policy = .roundRobin
                case "sequential": policy = .sequential
                default: throw property.error("must be random, round_robin or sequential")
                }
            // How idle connections and health checks are timed: there are none to time.
            case "expire", "health_check": break
            default: throw property.unknown()
            }
        }
    }

    /// An address, or a file in the form of resolv.conf.
    private static func upstreams(
        _ text: String, _ reader: DirectiveReader, _ readFile: (String) throws -> String
    ) throws(CorefileError) -> [IPEndpoint] {
        if text.contains("://") && !text.hasPrefix("dns://") {
            throw reader.error("\"\(text)\": only plain DNS upstreams are supported")
        }
        let plain = text.hasPrefix("dns://") ? String(text.dropFirst(6)) : text
        if let address = IPAddress(plain) { return [IPEndpoint(address, Port(rawValue: 53))] }
        if let endpoint = IPEndpoint(plain) { return [endpoint] }
        let content: String
        do {
            content = try readFile(plain)
        } catch {
            throw reader.error("\"\(text)\" is neither an address nor a file that can be read: \(error)")
        }
        return content.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, words[0] == "nameserver", let address = IPAddress(String(words[1])) else {
                return nil
            }
            return IPEndpoint(address, Port(rawValue: 53))
        }
    }
}
