import Bytes
import HTTP
import XDS

/// What of a request decides which host it goes to (`RouteAction.HashPolicy`), for ring hash and Maglev.
struct HashPolicy: Sendable {
    struct Cookie: Sendable {
        var name: [UInt8]
        /// In seconds. A cookie is made for clients without one when it is set; 0 makes one for the session.
        var lifetime: Int64?
        var path: String
        var attributes: [(name: String, value: String)]
    }

    enum Source: Sendable {
        case header(HeaderKey, RegexSubstitution?)
        case cookie(Cookie)
        case sourceIP
        case queryParameter([UInt8])
        case filterState(String)
    }

    var source: Source
    /// Once there is a hash, policies behind this one are not asked.
    var isTerminal: Bool

    /// The hash of a request; nil when no policy has one.
    static func hash(_ policies: [HashPolicy], _ stream: HTTPStream) -> UInt64? {
        var hash: UInt64?
        for policy in policies {
            if let next = policy.source.hash(stream) {
                // Turned, so that two policies of one value do not cancel each other out.
                hash = hash.map { $0 << 1 | $0 >> 63 } ?? 0
                hash? ^= next
            }
            if policy.isTerminal, hash != nil { break }
        }
        return hash
    }
}

extension HashPolicy.Source {
    fileprivate func hash(_ stream: HTTPStream) -> UInt64? {
        switch self {
        case .header(let key, let rewrite): return Self.hash(stream.request, key, rewrite)
        case .cookie(let cookie):
            if let value = stream.request.cookie(cookie.name), !value.isEmpty { return XXHash64.hash(value) }
            guard cookie.lifetime != nil else { return nil }
            return XXHash64.hash(stream.makeCookie(cookie))
        case .sourceIP: return stream.remote.address.map { XXHash64.hash("\($0)") }
        case .queryParameter(let name):
            return QueryString.value(of: name, in: stream.request.path).map { XXHash64.hash($0) }
        case .filterState(let key):
            return stream.metadata?.state[key].map { $0.withUnsafeBytes { XXHash64.hash($0) } }
        }
    }

    /// Several fields of one name count in the order of their values, whatever order they came in.
    private static func hash(_ block: HeaderBlock, _ key: HeaderKey, _ rewrite: RegexSubstitution?) -> UInt64? {
        guard let first = block.value(key) else { return nil }
        guard !key.isPseudo, let index = block.find(key), block.find(key, from: index + 1) != nil else {
            return rewritten(first, rewrite, seed: 0)
        }
        var values: [[UInt8]] = []
        for index in 0..<block.count where key.matches(block.fields[index].name, block.name(block.fields[index])) {
            values.append(Array(block.value(block.fields[index])))
        }
        values.sort { $0.lexicographicallyPrecedes($1) }
        return values.reduce(0) { seed, value in value.withUnsafeBytes { rewritten($0, rewrite, seed: seed) } }
    }

    private static func rewritten(_ value: UnsafeRawBufferPointer, _ rewrite: RegexSubstitution?, seed: UInt64)
        -> UInt64
    {
        var hash: UInt64?
        if let rewrite {
            rewrite.regex.replacing(value, with: rewrite.replacement) { hash = XXHash64.hash($0, seed: seed) }
        }
        return hash ?? XXHash64.hash(value, seed: seed)
    }
}

extension HTTPStream {
    /// Makes a cookie for a client that has none: its value stands for both ends of the connection, so that all its requests
    /// make the same. The response carries it.
    fileprivate func makeCookie(_ cookie: HashPolicy.Cookie) -> String {
        guard let origin = connection?.origin else { return "" }
        let value = Hex.encode(Self.bigEndian(XXHash64.hash("\(origin.remote)\(origin.local)")))
        var text = "\(String(decoding: cookie.name, as: UTF8.self))=\"\(value)\""
        if let lifetime = cookie.lifetime, lifetime > 0 { text += "; Max-Age=\(lifetime)" }
        if !cookie.path.isEmpty { text += "; Path=\(cookie.path)" }
        for (name, value) in cookie.attributes { text += value.isEmpty ? "; \(name)" : "; \(name)=\(value)" }
        routing.cookies.append(text + "; HttpOnly")
        return value
    }

    private static func bigEndian(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
    }
}

extension HashPolicy {
    init(_ node: ConfigNode) throws(ConfigError) {
        isTerminal = node.bool("terminal")
        func inner(_ name: String) throws(ConfigError) -> ConfigNode {
            guard let inner = node.message(name) else { throw node.error(name, "is missing") }
            return inner
        }
        switch node.choice("policy_specifier") {
        case "header":
            let header = try inner("header")
            source = .header(
                HeaderKey(header.string("header_name")), try header.message("regex_rewrite", RegexSubstitution.init))
        case "cookie":
            let cookie = try inner("cookie")
            source = .cookie(
                Cookie(
                    name: Array(cookie.string("name").utf8), lifetime: cookie.duration("ttl")?.components.seconds,
                    path: cookie.string("path"),
                    attributes: cookie.messages("attributes").map { ($0.string("name"), $0.string("value")) }))
        case "connection_properties":
            guard try inner("connection_properties").bool("source_ip") else {
                throw node.error("connection_properties", "source_ip is the one property there is")
            }
            source = .sourceIP
        case "query_parameter": source = .queryParameter(Array(try inner("query_parameter").string("name").utf8))
        case "filter_state": source = .filterState(try inner("filter_state").string("key"))
        case let other: throw node.error("hash policy \(other ?? "") is not supported")
        }
    }
}
