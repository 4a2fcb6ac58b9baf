import HTTP
import XDS

/// What a header field must be (`envoy.config.route.v3.HeaderMatcher`). Of several fields of one name it is enough that one
/// is it; joined they are not looked at, so that nobody hides a value behind another.
struct HeaderMatcher: Sendable {
    enum Test: Sendable {
        case present(Bool)
        case value(StringMatcher)
        /// The whole value is a number in [first, last).
        case range(Int64, Int64)
    }

    let key: HeaderKey
    let test: Test
    let inverts: Bool
    /// A field that is not there counts as an empty one.
    let treatsMissingAsEmpty: Bool

    init(_ key: HeaderKey, _ test: Test, inverts: Bool = false, treatsMissingAsEmpty: Bool = false) {
        self.key = key
        self.test = test
        self.inverts = inverts
        self.treatsMissingAsEmpty = treatsMissingAsEmpty
    }

    func matches(_ block: HeaderBlock) -> Bool {
        if case .present(let wanted) = test {
            return ((block.value(key) != nil || treatsMissingAsEmpty) == wanted) != inverts
        }
        guard var value = block.value(key) else {
            // What is not there matches nothing, also the other way round.
            return treatsMissingAsEmpty && holds(UnsafeRawBufferPointer(start: nil, count: 0)) != inverts
        }
        guard !key.isPseudo, let first = block.find(key) else { return holds(value) != inverts }
        var index = first
        while true {
            if holds(value) { return !inverts }
            guard let next = block.find(key, from: index + 1) else { return inverts }
            index = next
            value = block.value(block.fields[index])
        }
    }

    private func holds(_ value: UnsafeRawBufferPointer) -> Bool {
        switch test {
        case .present: true
        case .value(let matcher): matcher.matches(value)
        case .range(let first, let last): value.decimal.map { first <= $0 && $0 < last } ?? false
        }
    }
}

extension HeaderMatcher {
    /// An `envoy.config.route.v3.HeaderMatcher`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let test: Test
        switch node.choice("header_match_specifier") {
        case nil: test = .present(true)
        case "present_match": test = .present(node.bool("present_match"))
        case "string_match":
            guard let matcher = try node.message("string_match", StringMatcher.init) else {
                throw node.error("string_match", "is missing")
            }
            test = .value(matcher)
        case "exact_match": test = .value(StringMatcher(.exact(Array(node.string("exact_match").utf8))))
        case "prefix_match": test = .value(StringMatcher(.prefix(Array(node.string("prefix_match").utf8))))
        case "suffix_match": test = .value(StringMatcher(.suffix(Array(node.string("suffix_match").utf8))))
        case "contains_match": test = .value(StringMatcher(.contains(Array(node.string("contains_match").utf8))))
        case "safe_regex_match":
            guard let regex = try node.message("safe_regex_match", Regex.init(config:)) else {
                throw node.error("safe_regex_match", "is missing")
            }
            test = .value(StringMatcher(.regex(regex)))
        case "range_match":
            guard let range = node.message("range_match") else { throw node.error("range_match", "is missing") }
            test = .range(range.int64("start"), range.int64("end"))
        case let other: throw node.error("header match \(other ?? "") is not supported")
        }
        self.init(
            HeaderKey(node.string("name")), test, inverts: node.bool("invert_match"),
            treatsMissingAsEmpty: node.bool("treat_missing_header_as_empty"))
    }
}

extension HeaderBlock {
    /// Shows the values under a name, joined by commas; nil when there is none. Copies only where there are several.
    func withJoined<R>(_ key: HeaderKey, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        guard !key.isPseudo, let first = find(key) else { return body(value(key)) }
        guard var next = find(key, from: first + 1) else { return body(value(fields[first])) }
        var length = value(fields[first]).count
        var index: Int? = next
        while let at = index {
            length += 1 + value(fields[at]).count
            next = at
            index = find(key, from: next + 1)
        }
        return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { joined in
            var used = 0
            var index: Int? = first
            while let at = index {
                if used > 0 {
                    joined[used] = UInt8(ascii: ",")
                    used += 1
                }
                let bytes = value(fields[at])
                UnsafeMutableRawBufferPointer(rebasing: joined[used...]).copyMemory(from: bytes)
                used += bytes.count
                index = find(key, from: at + 1)
            }
            return body(UnsafeRawBufferPointer(joined))
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The number that all of the text spells in decimal, with a sign or without; nil for anything else, or beyond 64 bits.
    var decimal: Int64? {
        var digits = self[...]
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        guard !digits.isEmpty else { return nil }
        var number: Int64 = 0
        for byte in digits {
            guard byte &- 48 < 10 else { return nil }
            let (tenfold, over) = number.multipliedReportingOverflow(by: 10)
            let (sum, more) = tenfold.addingReportingOverflow(Int64(byte &- 48))
            guard !over, !more else { return nil }
            number = sum
        }
        return isNegative ? -number : number
    }
}
