import XDS

/// Which header fields are meant, by their names (`envoy.type.matcher.v3.ListStringMatcher`).
struct HeaderNameMatcher: Sendable {
    /// In lower case, pseudo-header fields with their colon.
    var names: [StaticString] = []
    var patterns: [StringMatcher] = []

    var isEmpty: Bool { names.isEmpty && patterns.isEmpty }

    func matches(_ name: UnsafeRawBufferPointer) -> Bool {
        for known in names where known.utf8CodeUnitCount == name.count && name.elementsEqual(known.bytes) {
            return true
        }
        for pattern in patterns where pattern.matches(name) { return true }
        return false
    }
}

extension HeaderNameMatcher {
    init(_ node: ConfigNode) throws(ConfigError) { patterns = try node.messages("patterns", StringMatcher.init) }
}
