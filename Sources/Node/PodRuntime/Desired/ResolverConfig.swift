/// The content of a pod's /etc/resolv.conf.
public struct ResolverConfig: Sendable, Equatable {
    public var nameservers: [String]
    public var searches: [String]
    public var options: [String]

    /// More are cut off; the C library reads no more.
    static let nameserverLimit = 3
    static let searchLimit = 32
    static let searchCharacterLimit = 2048

    public init(nameservers: [String] = [], searches: [String] = [], options: [String] = []) {
        self.nameservers = nameservers
        self.searches = searches
        self.options = options
    }

    /// Reads resolv.conf(5); of repeated `search` lines the last counts.
    public init(parsing text: String) {
        self.init()
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.prefix { $0 != "#" && $0 != ";" }.split(whereSeparator: \.isWhitespace).map(String.init)
            guard words.count > 1 else { continue }
            switch words[0] {
            case "nameserver": nameservers.append(words[1])
            case "search", "domain": searches = words.dropFirst().map { $0 == "." ? "." : Self.trimmed($0) }
            case "options": options += words.dropFirst()
            default: break
            }
        }
    }

    private static func trimmed(_ domain: String) -> String {
        domain.hasSuffix(".") ? String(domain.dropLast()) : domain
    }

    /// What the pod's DNS policy and its own dnsConfig make of the cluster's and the host's settings.
    public static func forPod(
        _ pod: PodSpec, clusterDNS: [String], clusterDomain: String, host: ResolverConfig
    ) -> ResolverConfig {
        var result: ResolverConfig
        let clusterFirst =
            switch pod.dns.policy {
            case .clusterFirst: !pod.hostNetwork
            case .clusterFirstWithHostNet: true
            case .default, .none: false
            }
        if pod.dns.policy == .none {
            result = ResolverConfig()
        } else if clusterFirst, !clusterDNS.isEmpty {
            result = ResolverConfig(
                nameservers: clusterDNS,
                searches: ["\(pod.identity.namespace).svc.\(clusterDomain)", "svc.\(clusterDomain)", clusterDomain]
                    + host.searches,
                options: ["ndots:5"])
        } else {
            result = host
        }
        result.nameservers += pod.dns.nameservers
        result.searches += pod.dns.searches
        // An option of the pod replaces the one of the same name.
        for option in pod.dns.options {
            let name = option.prefix { $0 != ":" }
            result.options.removeAll { $0.prefix { $0 != ":" } == name }
            result.options.append(option)
        }
        return result.bounded()
    }

    private func bounded() -> ResolverConfig {
        var result = self
        result.nameservers = Array(Self.unique(nameservers).prefix(Self.nameserverLimit))
        result.searches = []
        var characters = 0
        for domain in Self.unique(searches).prefix(Self.searchLimit) {
            characters += domain.utf8.count + 1
            if characters > Self.searchCharacterLimit { break }
            result.searches.append(domain)
        }
        return result
    }

    private static func unique(_ items: [String]) -> [String] {
        var seen: Set<String> = []
        return items.filter { seen.insert($0).inserted }
    }

    public var text: String {
        var text = ""
        if !searches.isEmpty { text += "search \(searches.joined(separator: " "))\n" }
        for nameserver in nameservers { text += "nameserver \(nameserver)\n" }
        if !options.isEmpty { text += "options \(options.joined(separator: " "))\n" }
        return text
    }
}
