import HTTP
import XDS

/// What a cookie must be (`envoy.config.route.v3.CookieMatcher`).
struct CookieMatcher: Sendable {
    let name: [UInt8]
    let value: StringMatcher
    let inverts: Bool

    func matches(_ block: HeaderBlock) -> Bool {
        (block.cookie(name).map(value.matches) ?? false) != inverts
    }
}

extension CookieMatcher {
    init(_ node: ConfigNode) throws(ConfigError) {
        name = Array(node.string("name").utf8)
        guard let matcher = try node.message("string_match", StringMatcher.init) else {
            throw node.error("string_match", "is missing")
        }
        value = matcher
        inverts = node.bool("invert_match")
    }
}

extension HeaderBlock {
    /// The value of the first cookie of this name, without quotes around it; nil when it is not there.
    func cookie(_ name: [UInt8]) -> UnsafeRawBufferPointer? {
        for index in 0..<count where fields[index].name == .cookie {
            var rest = value(fields[index])[...]
            while !rest.isEmpty {
                let end = rest.firstIndex(of: UInt8(ascii: ";")) ?? rest.endIndex
                let pair = rest[..<end].drop { $0 == 32 || $0 == 9 }
                rest = end < rest.endIndex ? rest[(end + 1)...] : rest[end...]
                guard let equals = pair.firstIndex(of: UInt8(ascii: "=")), pair[..<equals].elementsEqual(name) else {
                    continue
                }
                var value = pair[(equals + 1)...]
                while let last = value.last, last == 32 || last == 9 { value = value.dropLast() }
                let quote = UInt8(ascii: "\"")
                if value.count >= 2, value.first == quote, value.last == quote { value = value.dropFirst().dropLast() }
                return UnsafeRawBufferPointer(rebasing: value)
            }
        }
        return nil
    }
}
