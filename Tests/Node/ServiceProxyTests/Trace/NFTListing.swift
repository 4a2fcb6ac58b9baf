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
        for object in try JSONValue.parse(text)["nftables"]?.array ?? [] {
            guard let set = object["set"] ?? object["map"], let name = set["name"]?.string else { continue }
            let key = try Self.types(set["type"])
            let value = set["map"]?.string == "verdict" ? nil : try set["map"].map(Self.types)
            elements[name] = Set(
                try (set["elem"]?.array ?? []).map { element in
                    guard set["map"] != nil else { return NFElement(key: try Self.bytes(element, key)) }
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

    private static func bytes(_ json: JSONValue, _ types: [String]) throws -> [UInt8] {
        // An element with a timeout or a comment is wrapped.
        if let inner = json["elem"]?["val"] { return try bytes(inner, types) }
        guard types.count > 1 else { return try field(json, types.first ?? "") }
        guard let parts = json["concat"]?.array, parts.count == types.count else {
            throw Unknown(description: "\(json) is not \(types)")
        }
        return try zip(parts, types).flatMap { part, type in
            let bytes = try field(part, type)
            return bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
        }
    }

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

    /// In which elements it is not what a table should be; empty when they are the same.
    func differences(from table: TableSnapshot) -> [String] {
        var problems: [String] = []
        for (name, set) in table.sets {
            let wanted = Set((table.elements[name] ?? [:]).values)
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
        let text = try run("nft -j list table \(proxy.kernel.shape.name)")
        return try NFTListing(text).differences(from: table)
    }
}
