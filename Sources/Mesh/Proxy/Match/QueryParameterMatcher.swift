import XDS

/// What a parameter of the query must be (`envoy.config.route.v3.QueryParameterMatcher`); of several of one name the first.
struct QueryParameterMatcher: Sendable {
    enum Test: Sendable {
        case present(Bool)
        case value(StringMatcher)
    }

    let name: [UInt8]
    let test: Test

    func matches(_ path: UnsafeRawBufferPointer) -> Bool {
        let value = QueryString.value(of: name, in: path)
        switch test {
        case .present(let wanted): return (value != nil) == wanted
        case .value(let matcher): return value.map(matcher.matches) ?? false
        }
    }
}

extension QueryParameterMatcher {
    init(_ node: ConfigNode) throws(ConfigError) {
        name = Array(node.string("name").utf8)
        switch node.choice("query_parameter_match_specifier") {
        case "string_match":
            guard let matcher = try node.message("string_match", StringMatcher.init) else {
                throw node.error("string_match", "is missing")
            }
            test = .value(matcher)
        case "present_match": test = .present(node.bool("present_match"))
        default: test = .present(true)
        }
    }
}
