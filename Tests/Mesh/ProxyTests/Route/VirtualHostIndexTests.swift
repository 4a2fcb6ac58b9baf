import Bytes
import Testing

@testable import Proxy

@Suite("The virtual host of a request")
struct VirtualHostIndexTests {
    static let rows: [(String, Int?)] = [
        ("exact.test", 0), ("EXACT.Test", 0), ("x.wild.test", 1), ("a.b.wild.test", 2), ("wild.test", nil),
        (".wild.test", nil), ("pre.fix", 3), ("pre.longer.fix", 4), ("", nil), ("other", nil),
    ]

    @Test("is the one of its whole name, else of the longest wildcard", arguments: rows)
    func rule(row: (String, Int?)) throws {
        let index = try VirtualHostIndex(
            [["exact.test"], ["*.wild.test"], ["*.b.wild.test"], ["pre.*"], ["pre.longer.*"]], table: "t")
        #expect(row.0.withBytes { index.find($0) } == row.1)
    }

    @Test("falls back to the one for all")
    func fallback() throws {
        let index = try VirtualHostIndex([["a"], ["*", "b"]], table: "t")
        #expect("c".withBytes { index.find($0) } == 1)
        #expect("a".withBytes { index.find($0) } == 0)
    }

    static let refused: [([[String]], String)] = [
        ([["*"], ["*"]], "Only a single wildcard domain is permitted in route t"),
        (
            [["a.b"], ["A.B"]],
            "Only unique values for domains are permitted. Duplicate entry of domain A.B in route t"
        ),
        ([["*.a", "*.A"]], "Only unique values for domains are permitted. Duplicate entry of domain *.A in route t"),
    ]

    @Test("is one: a domain comes once", arguments: refused)
    func duplicates(row: ([[String]], String)) {
        let error = #expect(throws: VirtualHostIndex.Invalid.self) { try VirtualHostIndex(row.0, table: "t") }
        #expect(error?.description == row.1)
    }

    @Test("is found as by looking at every domain in turn", arguments: [1, 2, 3, 4] as [UInt64])
    func property(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let labels = ["a", "b", "ab", "c"]
        func name() -> String {
            (0..<Int.random(in: 1...3, using: &random)).map { _ in labels.randomElement(using: &random) ?? "a" }
                .joined(separator: ".")
        }
        var domains: [String] = []
        for _ in 0..<40 {
            let base = name()
            let domain = [base, "*." + base, base + ".*"].randomElement(using: &random) ?? base
            if !domains.contains(domain) { domains.append(domain) }
        }
        let index = try VirtualHostIndex(domains.map { [$0] }, table: "t")
        for _ in 0..<500 {
            let host = name()
            let found = host.withBytes { index.find($0) }
            #expect(found == Self.literal(domains, host), "\(host) in \(domains), seed \(seed)")
        }
    }

    private static func literal(_ domains: [String], _ host: String) -> Int? {
        if let exact = domains.firstIndex(of: host) { return exact }
        func longest(_ matching: (String) -> String?) -> Int? {
            domains.indices.filter { index in
                guard let rest = matching(domains[index]) else { return false }
                return host.utf8.count > rest.utf8.count
                    && (domains[index].hasPrefix("*") ? host.hasSuffix(rest) : host.hasPrefix(rest))
            }.max { domains[$0].utf8.count < domains[$1].utf8.count }
        }
        return longest { $0.hasPrefix("*") ? String($0.dropFirst()) : nil }
            ?? longest { $0.hasSuffix("*") ? String($0.dropLast()) : nil }
    }
}
