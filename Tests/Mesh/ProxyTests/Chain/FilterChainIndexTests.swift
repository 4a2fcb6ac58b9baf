import Bytes
import Testing

@testable import Proxy

@Suite("Filter chain match")
struct FilterChainIndexTests {
    private typealias Connection = LiteralChainMatch.Connection

    private static func choose(_ index: FilterChainIndex, _ connection: LiteralChainMatch.Connection) -> Int? {
        let names = connection.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        let name = Array(connection.serverName.utf8)
        return name.withUnsafeBytes { name in
            names.withUnsafeBytes { names in
                index.chain(
                    for: ConnectionFacts(
                        destination: connection.destination, directSource: connection.direct, source: connection.source,
                        serverName: name, transportProtocol: connection.isTLS ? .tls : .rawBuffer,
                        applicationProtocols: ProtocolNames(wire: names)))
            }
        }
    }

    private static func index(
        _ matches: [FilterChainMatch], defaultChain: Int? = nil
    ) throws -> FilterChainIndex {
        try FilterChainIndex(
            matches.enumerated().map { ("chain \($0.offset)", $0.element) }, defaultChain: defaultChain)
    }

    @Test("an exact name comes before the longest suffix, that before no name")
    func serverNames() throws {
        let index = try Self.index([
            FilterChainMatch(), FilterChainMatch(serverNames: ["*.com"]),
            FilterChainMatch(serverNames: ["*.example.com"]),
            FilterChainMatch(serverNames: ["WWW.example.com", "other.org"]),
        ])
        for (name, chain) in [
            ("www.example.com", 3), ("a.example.com", 2), ("a.b.example.com", 2), ("example.com", 1), ("x.com", 1),
            ("com", 0),
            ("other.org", 3), ("www.other.org", 0), ("", 0), (".com", 1), ("example.com.", 0), ("wwwexample.com", 1),
        ] {
            #expect(Self.choose(index, Connection(serverName: name)) == chain, "\(name)")
        }
    }

    @Test("what an earlier criterion has chosen is not taken back by a later one")
    func noBacktracking() throws {
        let loopback = IPEndpoint(.loopbackV4, 80)
        let index = try Self.index([
            FilterChainMatch(destinationPrefixes: [CIDR("10.0.0.0/8")!]),
            FilterChainMatch(destinationPrefixes: [CIDR("10.1.0.0/16")!], serverNames: ["a.test"]),
            FilterChainMatch(destinationPort: 443, applicationProtocols: ["h2"]),
        ])
        func to(_ address: String, _ port: Port, _ name: String = "") -> Int? {
            Self.choose(
                index,
                Connection(
                    destination: IPEndpoint(IPAddress(address)!, port), direct: loopback, source: loopback,
                    serverName: name))
        }
        #expect(to("10.2.0.1", 80) == 0)
        #expect(to("10.1.0.1", 80, "a.test") == 1)
        // Chain 0 would fit but for the more specific prefix; port 443's chain wants another protocol.
        #expect(to("10.1.0.1", 80, "b.test") == nil)
        #expect(to("10.2.0.1", 443) == nil)
    }

    @Test("the default chain serves what no chain matches, and an empty list serves nobody")
    func defaults() throws {
        let index = try Self.index([FilterChainMatch(serverNames: ["a.test"])], defaultChain: 7)
        #expect(Self.choose(index, Connection(serverName: "b.test")) == 7)
        #expect(Self.choose(index, Connection(serverName: "a.test")) == 0)
        #expect(Self.choose(try Self.index([]), Connection()) == nil)
        #expect(Self.choose(try Self.index([], defaultChain: 1), Connection()) == 1)
    }

    @Test("where a connection comes from: a pipe, loopback and the machine itself are local")
    func sourceTypes() throws {
        let index = try Self.index([
            FilterChainMatch(sourceType: .sameAddressOrLoopback), FilterChainMatch(sourceType: .external),
        ])
        let here = IPEndpoint(IPAddress("10.0.0.1")!, 80)
        let there = IPEndpoint(IPAddress("10.0.0.2")!, 4000)
        let lo = IPEndpoint(.loopbackV6, 4000)
        for (source, chain) in [(here, 0), (there, 1), (lo, 0)] {
            #expect(Self.choose(index, Connection(destination: here, direct: there, source: source)) == chain)
        }
        #expect(Self.choose(index, Connection()) == 0)
    }

    @Test("chains that would serve the same connections are refused by both names")
    func conflicts() throws {
        let cases: [([FilterChainMatch], String)] = [
            (
                [FilterChainMatch(), FilterChainMatch()],
                "filter chain 'chain 1' has the same matching rules defined as 'chain 0'"
            ),
            (
                [FilterChainMatch(serverNames: ["a.test"]), FilterChainMatch(serverNames: ["A.TEST"])],
                "filter chain 'chain 1' has the same matching rules defined as 'chain 0'"
            ),
            (
                [FilterChainMatch(serverNames: ["a.test", "b.test"]), FilterChainMatch(serverNames: ["b.test"])],
                "multiple filter chains with overlapping matching rules are defined: 'chain 0' and 'chain 1'"
            ),
            (
                [
                    FilterChainMatch(destinationPrefixes: [CIDR("10.0.0.1/8")!], sourcePorts: [1]),
                    FilterChainMatch(destinationPrefixes: [CIDR("10.0.0.2/8")!], sourcePorts: [2, 1]),
                ], "multiple filter chains with overlapping matching rules are defined: 'chain 0' and 'chain 1'"
            ),
        ]
        for (matches, text) in cases {
            let error = #expect(throws: FilterChainIndex.Conflict.self) { try Self.index(matches) }
            #expect(error?.description == text)
        }
    }

    @Test("a name with a wildcard inside is refused", arguments: ["*", "a.*.test", "*a.test", "", "*.", "*.*"])
    func names(_ name: String) {
        let error = #expect(throws: FilterChainIndex.Conflict.self) {
            try Self.index([FilterChainMatch(serverNames: [name])])
        }
        #expect(error?.description.contains("\"\(name)\"") == true)
    }

    @Test("agrees with the literal rule", arguments: [UInt64(1), 2, 3, 4, 5, 6])
    func property(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var compared = 0
        var matched = 0
        for _ in 0..<400 {
            let chains = (0..<Int.random(in: 1...8, using: &random)).map { _ in Self.match(&random) }
            guard let index = try? Self.index(chains) else { continue }
            let literal = LiteralChainMatch(chains: chains)
            for _ in 0..<30 {
                let connection = Self.connection(&random)
                let expected = literal.choose(connection)
                #expect(
                    Self.choose(index, connection) == expected, "seed \(seed): \(connection)\n\(chains)")
                compared += 1
                if expected != nil { matched += 1 }
            }
        }
        #expect(compared > 2000 && matched > compared / 10, "\(compared) compared, \(matched) matched")
    }

    // MARK: Small worlds, so that values meet

    private static let prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "127.0.0.1/32", "::/0", "fd00::/8"]
        .map { CIDR($0)! }
    private static let addresses = ["10.0.0.1", "10.1.0.1", "127.0.0.1", "192.0.2.1", "fd00::1", "::1"]
        .map { IPAddress($0)! }
    private static let wanted = ["a.test", "b.test", "*.a.test", "*.test", "x.y.a.test"]
    private static let asked = ["", "a.test", "b.test", "y.a.test", "x.y.a.test", "c.test", "test"]

    private static func some<T>(_ values: [T], _ random: inout SplitMix64) -> [T] {
        guard Int.random(in: 0..<3, using: &random) == 0 else { return [] }
        return Array(values.shuffled(using: &random).prefix(.random(in: 1...2, using: &random)))
    }

    private static func match(_ random: inout SplitMix64) -> FilterChainMatch {
        FilterChainMatch(
            destinationPort: some([80, 443] as [Port], &random).first,
            destinationPrefixes: some(prefixes, &random), serverNames: some(wanted, &random),
            transportProtocol: some(["tls", "raw_buffer", "quic"], &random).first ?? "",
            applicationProtocols: some(["h2", "http/1.1", "istio"], &random),
            directSourcePrefixes: some(prefixes, &random),
            sourceType: some([.external, .sameAddressOrLoopback] as [FilterChainMatch.SourceType], &random).first
                ?? .any,
            sourcePrefixes: some(prefixes, &random), sourcePorts: some([1, 2] as [Port], &random))
    }

    private static func connection(_ random: inout SplitMix64) -> LiteralChainMatch.Connection {
        func end(_ ports: [Port]) -> IPEndpoint? {
            guard Int.random(in: 0..<12, using: &random) > 0 else { return nil }
            return IPEndpoint(addresses.randomElement(using: &random)!, ports.randomElement(using: &random)!)
        }
        let direct = end([1, 2, 3])
        return Connection(
            destination: end([80, 443, 8080]), direct: direct, source: direct == nil ? nil : end([1, 2, 3]) ?? direct,
            serverName: asked.randomElement(using: &random)!, isTLS: .random(using: &random),
            protocols: some(["h2", "http/1.1", "other"], &random))
    }
}
