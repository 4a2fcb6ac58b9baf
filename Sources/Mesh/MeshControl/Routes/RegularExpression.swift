import CRE2

/// What proxies think of an expression, asked before they see it.
enum RegularExpression {
    /// The most that Envoy takes without a warning, by RE2's measure.
    private static let costLimit = 100 << 10

    /// Why proxies would refuse it; nil when they take it.
    static func problem(_ expression: String) -> String? {
        var expression = expression
        return expression.withUTF8 { bytes -> String? in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { error in
                error[0] = 0
                let regex = bytes.withMemoryRebound(to: CChar.self) {
                    weft_regex_new($0.baseAddress, $0.count, false, error.baseAddress, error.count)
                }
                guard let regex else {
                    return error.baseAddress.map { "no regular expression (RE2): \(String(cString: $0))" }
                }
                defer { weft_regex_free(regex) }
                return weft_regex_program_size(regex) > Self.costLimit ? "too costly a regular expression" : nil
            }
        }
    }
}
