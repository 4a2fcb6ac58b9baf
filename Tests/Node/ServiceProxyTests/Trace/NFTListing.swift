import Bytes
import JSON
import Netlink

@testable import ServiceProxy

/// What `nft -j list table` tells of sets and maps, as register bytes: written from nft's words alone, so that it can
/// judge our encoder, our decoder and our tracker.
struct NFTListing {
    /// By set.
    private(set) var elements: [String: Set<NFElement>] = [:]

    struct Unknown: Error, CustomStringConvertible { var description: String }

    init(_ text: String) throws {
        guard let json = try? JSONValue.parse(text) else { throw Unknown(description: "no JSON: \(text.prefix(400))") }
        for object in json["nftables"]?.array ?? [] {
            guard let set = object["set"] ?? object["map"], let name = set["name"]?.string else { continue }
            let key = try Self.types(set["type"])
            let value = set["map"]?.string == "verdict" ? nil : try set["map"].map(Self.types)
            elements[name] = Set(
                try (set["elem"]?.array ?? []).map { element in
                    guard set["map"] != nil else { return try Self.key(element, key) }
                    let (left, right) = (element[0] ?? .null, element[1] ?? .null)
                    let data: NFElementData =
                        if let value { .value(try Self.bytes(right, value)) } else { .verdict(try Self.verdict(right)) }
                    return NFElement(key: try Self.bytes(left, key), data: data)
                })
        }
    }

    /// One type, a list of them, or a concatenation in one text.
    private static func types(_ json: JSONValue?) throws -> [String] {
        if let list = json?.array { return list.compactMap(\.string) }
        guard let text = json?.string else { throw Unknown(description: "a type: \(json ?? .null)") }
        return text.split(separator: " ").filter { $0 != "." }.map(String.init)
    }

    /// The first and, where it is another, the last key of an element.
    private static func key(_ json: JSONValue, _ types: [String]) throws -> NFElement {
        let (first, last) = try span(json, types)
        return NFElement(key: first, keyEnd: first == last ? nil : last)
    }

    private static func span(_ json: JSONValue, _ types: [String]) throws -> (first: [UInt8], last: [UInt8]) {
        // An element with a timeout or a comment is wrapped.
        if let inner = json["elem"]?["val"] { return try span(inner, types) }
        guard types.count > 1 else { return try fieldSpan(json, types.first ?? "") }
        guard let parts = json["concat"]?.array, parts.count == types.count else {
            throw Unknown(description: "\(json) is not \(types)")
        }
        var (first, last): ([UInt8], [UInt8]) = ([], [])
        for (part, type) in zip(parts, types) {
            let field = try fieldSpan(part, type)
            let padding = [UInt8](repeating: 0, count: (4 - field.first.count % 4) % 4)
            first += field.first + padding
            last += field.last + padding
        }
        return (first, last)
    }

    private static func fieldSpan(_ json: JSONValue, _ type: String) throws -> (first: [UInt8], last: [UInt8]) {
        if let range = json["range"]?.array, range.count == 2 {
            return (try field(range[0], type), try field(range[1], type))
        }
        if let text = json["prefix"]?["addr"]?.string, let length = json["prefix"]?["len"]?.int,
            let prefix = CIDR("\(text)/\(length)")
        {
            return (prefix.first.bytes, prefix.last.bytes)
        }
        let bytes = try field(json, type)
        return (bytes, bytes)
    }

    private static func bytes(_ json: JSONValue, _ types: [String]) throws -> [UInt8] { try span(json, types).first }

    private static func field(_ json: JSONValue, _ type: String) throws -> [UInt8] {
        let unknown = Unknown(description: "\(json) as \(type)")
        switch type {
        case "ipv4_addr", "ipv6_addr":
            guard let address = json.string.flatMap({ IPAddress($0) }) else { throw unknown }
            return address.bytes
        case "inet_proto":
            guard let number = ["tcp": 6, "udp": 17, "sctp": 132][json.string ?? ""] else { throw unknown }
            return [UInt8(number)]
        case "inet_service":
            guard let number = json.int.flatMap({ UInt16(exactly: $0) }) else { throw unknown }
            return number.networkBytes
        case "mark":
            guard let number = json.int.flatMap({ UInt32(exactly: $0) }) else { throw unknown }
            return number.registerBytes
        case "classid":
            if json.string == "none" { return UInt32(0).registerBytes }
            let halves = (json.string ?? "").split(separator: ":").compactMap { UInt32($0, radix: 16) }
            guard halves.count == 2 else { throw unknown }
            return (halves[0] << 16 | halves[1]).registerBytes
        default: throw unknown
        }
    }

    private static func verdict(_ json: JSONValue) throws -> NFVerdict {
        if let chain = json["goto"]?["target"]?.string { return .goto(chain) }
        if json.object?.keys.contains("drop") == true { return .drop }
        throw Unknown(description: "a verdict: \(json)")
    }

    /// Elements of intervals as nft tells them: each by its first and last key.
    private static func ranged(_ elements: [NFElement], _ set: NFSet) -> Set<NFElement> {
        guard set.flags.contains(.interval) else { return Set(elements) }
        if set.key.count > 1 {
            return Set(elements.map { NFElement(key: $0.key, keyEnd: $0.keyEnd == $0.key ? nil : $0.keyEnd) })
        }
        let sorted = elements.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        return Set(
            sorted.indices.filter { !sorted[$0].isIntervalEnd }.map { index in
                let first = sorted[index].key
                let end = sorted.dropFirst(index + 1).first { $0.isIntervalEnd }
                let last = end.map { before($0.key) } ?? first.map { _ in 0xFF }
                return NFElement(key: first, keyEnd: first == last ? nil : last)
            })
    }

    private static func before(_ key: [UInt8]) -> [UInt8] {
        var key = key
        for index in key.indices.reversed() {
            key[index] &-= 1
            if key[index] != 0xFF { break }
        }
        return key
    }

    /// In which elements it is not what a table should be; empty when they are the same.
    func differences(from table: TableSnapshot) -> [String] {
        var problems: [String] = []
        // What the kernel puts into sets by itself is nobody's wish.
        for (name, set) in table.sets where !set.flags.contains(.dynamic) {
            let wanted = Self.ranged(Array((table.elements[name] ?? [:]).values), set)
            let listed = elements[name] ?? []
            for element in wanted.subtracting(listed) {
                problems.append("\(name): nft lists no \(ElementText.of(element, in: set))")
            }
            for element in listed.subtracting(wanted) {
                problems.append("\(name): nft lists \(ElementText.of(element, in: set)) beside what should be")
            }
        }
        for name in elements.keys where table.sets[name] == nil { problems.append("\(name) is no set of ours") }
        return problems
    }
}

extension ProxyBench {
    /// In what the table, as `nft -j list` prints it, is not what the proxy believes it to be.
    func listingDifferences(_ family: IPAddress.Family) throws -> [String] {
        guard let proxy = proxy.families.first(where: { $0.family == family }) else {
            return ["\(family) is not there"]
        }
        let table = TableSnapshot(proxy.kernel.shape, proxy.desired.tracker.allDesired)
        // It has no JSON for rules that add to maps, says so on stderr, and tells all the rest.
        let text = try run("nft -j list table \(proxy.kernel.shape.name) 2>/dev/null")
        return try NFTListing(text).differences(from: table)
    }
}
