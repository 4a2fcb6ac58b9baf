import Bytes
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Rules and elements in nft's words", .ownThreads)
struct RuleTextTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var change: @Sendable (inout ServiceProxyConfiguration) -> Void
    }

    static let shapes: [Shape] = [
        Shape(testDescription: "pods by prefix, node ports everywhere") { _ in },
        Shape(testDescription: "pods by bridge, node ports on listed addresses") {
            $0.localDetector = .bridgeInterface("cni0")
            $0.nodePortAddresses = .prefixes([prefix("192.0.2.0/24")])
        },
        Shape(testDescription: "pods by the beginning of an interface's name, another bit") {
            $0.localDetector = .interfaceNamePrefix("veth")
            $0.masqueradeMark = 0x8000
        },
        Shape(testDescription: "pods not told from others") { $0.localDetector = .none },
    ]

    @Test("every rule of the table is printed as nft prints it, and every element", arguments: shapes)
    func words(shape: Shape) throws {
        var configuration = ServiceProxyConfiguration.testing
        shape.change(&configuration)
        let bench = try ProxyBench(configuration)
        var random = SplitMix64(seed: 5)
        RandomCluster(&random, services: 12).feed(bench.proxy)
        bench.proxy.setNodeAddresses([address("192.0.2.1"), address("fd00:8::1")])
        try bench.proxy.sync()
        for family in [NFFamily.ip, .ip6] {
            let name = NFTableName(family, configuration.tableName)
            let table = try #require(try TableSnapshot(reading: name, through: bench.nftables))
            let listed = Self.chains(try bench.run("nft list table \(name)"))
            #expect(!listed.isEmpty)
            for (chain, lines) in listed {
                let ours = (table.rules[chain] ?? []).map { RuleText.of($0, in: table) }
                #expect(ours == lines, "\(family) \(chain)")
            }
            let text = try bench.run("nft list table \(name)")
            for (set, elements) in table.elements {
                let definition = try #require(table.sets[set])
                for element in elements.values {
                    let words = ElementText.of(element, in: definition)
                    #expect(text.contains(words), "\(family) \(set): \(words)")
                }
            }
        }
    }

    /// The rules of each chain, as they are listed.
    private static func chains(_ text: String) -> [String: [String]] {
        var chains: [String: [String]] = [:]
        var chain: String?
        for line in text.split(separator: "\n") {
            let words = line.drop { $0 == "\t" }
            if words.hasPrefix("chain ") {
                chain = String(words.dropFirst(6).dropLast(2))
            } else if words == "}" {
                chain = nil
            } else if let chain, !words.hasPrefix("type ") {
                chains[chain, default: []].append(String(words))
            }
        }
        return chains
    }
}
