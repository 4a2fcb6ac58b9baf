import XDS

/// What an object of the filter state must be as text (`envoy.type.matcher.v3.FilterStateMatcher`).
struct FilterStateMatcher: Sendable {
    enum Test: Sendable {
        case text(StringMatcher)
        case address(AddressRanges)
    }

    let key: String
    let test: Test

    func matches(_ metadata: StreamMetadata?) -> Bool {
        guard let value = metadata?.state[key] else { return false }
        return value.withUnsafeBytes { value in
            switch test {
            case .text(let matcher): matcher.matches(value)
            case .address(let ranges): ranges.contains(value)
            }
        }
    }
}

extension FilterStateMatcher {
    init(_ node: ConfigNode) throws(ConfigError) {
        key = node.string("key")
        switch node.choice("matcher") {
        case "string_match":
            guard let matcher = try node.message("string_match", StringMatcher.init) else {
                throw node.error("string_match", "is missing")
            }
            test = .text(matcher)
        case "address_match":
            guard let ranges = try node.message("address_match", AddressRanges.init) else {
                throw node.error("address_match", "is missing")
            }
            test = .address(ranges)
        case let other: throw node.error("filter state match \(other ?? "") is not supported")
        }
    }
}
