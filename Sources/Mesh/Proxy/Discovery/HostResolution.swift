import Bytes
import DNSMessage
import Reactor

/// How this host looks names up: `/etc/resolv.conf` and `/etc/hosts`, as they were when it was read.
struct HostResolution: Sendable {
    var servers: [IPEndpoint]
    var search: [String]
    /// Names with fewer dots are looked for in the search path first.
    var dots: Int
    var hosts: [String: [IPAddress]]

    static func read() -> HostResolution {
        HostResolution(
            resolver: (try? Files.readText("/etc/resolv.conf")) ?? "", hosts: (try? Files.readText("/etc/hosts")) ?? "")
    }

    init(resolver: String, hosts text: String) {
        (servers, search, dots, hosts) = ([], [], 1, [:])
        for line in resolver.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard let key = words.first, !key.hasPrefix("#"), !key.hasPrefix(";") else { continue }
            switch key {
            case "nameserver":
                if words.count > 1, let address = IPAddress(String(words[1])) {
                    servers.append(IPEndpoint(address, Port(53)))
                }
            case "search", "domain": search = words.dropFirst().map(String.init)
            case "options":
                for option in words.dropFirst() where option.hasPrefix("ndots:") {
                    dots = Int(option.dropFirst(6)).map { min(max($0, 0), 15) } ?? dots
                }
            default: break
            }
        }
        if servers.isEmpty { servers = [IPEndpoint(.loopbackV4, Port(53))] }
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let address = words.first.flatMap({ IPAddress(String($0)) }) else { continue }
            for name in words.dropFirst() { hosts[name.lowercased(), default: []].append(address) }
        }
    }

    /// The names to ask for, in order; empty when it is none.
    func candidates(_ name: String) -> [DNSName] {
        if name.hasSuffix(".") { return DNSName(name).map { [$0] } ?? [] }
        let searched = search.compactMap { DNSName("\(name).\($0)") }
        guard let plain = DNSName(name) else { return [] }
        return name.filter { $0 == "." }.count >= dots ? [plain] + searched : searched + [plain]
    }
}
