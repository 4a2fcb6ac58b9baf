/// The shapes that names, keys and values may have, each answering with what is wrong (nothing when it is fine).
///
/// The sentences are the ones users know from kubectl, regular expression included; the checks are loops over
/// bytes, because no regular expression engine is needed to say what these allow.
public enum Names {
    /// What a label or name of one DNS label may measure.
    public static let labelLimit = 63
    /// What a name of several DNS labels may measure.
    public static let subdomainLimit = 253

    /// A DNS label of RFC 1123: `my-name`, `123-abc`.
    public static func dns1123Label(_ name: String) -> [String] {
        tooLong(name, labelLimit)
            + mismatch(
                isDNSLabel(name.utf8[...]),
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                    + "and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?", ["my-name", "123-abc"])
    }

    /// DNS labels joined by dots, in lower case: `example.com`.
    public static func dns1123Subdomain(_ name: String) -> [String] {
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return tooLong(name, subdomainLimit)
            + mismatch(
                labels.allSatisfy { isDNSLabel($0) },
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
                    + "and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", ["example.com"])
    }

    /// A CSI driver's name: a short subdomain, in whatever case.
    public static func csiDriver(_ name: String) -> [String] {
        tooLong(name, labelLimit) + dns1123Subdomain(name.lowercased())
    }

    /// A DNS label of RFC 1035, which may not start with a digit: `my-name`, `abc-123`.
    public static func dns1035Label(_ name: String) -> [String] {
        let startsWithLetter = name.utf8.first.map { isLower($0) } ?? false
        return tooLong(name, labelLimit)
            + mismatch(
                startsWithLetter && isDNSLabel(name.utf8[...]),
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                    + "character, and end with an alphanumeric character",
                "[a-z]([-a-z0-9]*[a-z0-9])?", ["my-name", "abc-123"])
    }

    /// A name that travels as one path segment, otherwise free: the RBAC kinds.
    public static func pathSegment(_ name: String) -> [String] {
        if name == "." || name == ".." { return ["may not be '\(name)'"] }
        return ["/", "%"].filter { name.contains($0) }.map { "may not contain '\($0)'" }
    }

    /// A label's, annotation's or finalizer's key: `MyName` or `example.com/MyName`.
    public static func qualifiedName(_ key: String) -> [String] {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        let expression = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
        let examples = ["MyName", "my.name", "123-abc"]
        let rule =
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            + "alphanumeric character"
        guard parts.count <= 2, let name = parts.last else {
            return mismatch(false, "a qualified name " + rule, expression, examples).map {
                $0 + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            }
        }
        var problems: [String] = []
        if parts.count == 2 {
            if parts[0].isEmpty {
                problems.append("prefix part must be non-empty")
            } else {
                problems += dns1123Subdomain(String(parts[0])).map { "prefix part " + $0 }
            }
        }
        if name.isEmpty {
            problems.append("name part must be non-empty")
        } else {
            problems += tooLong(String(name), labelLimit).map { "name part " + $0 }
        }
        return problems + mismatch(isToken(name.utf8), "name part " + rule, expression, examples)
    }

    /// A label's value: empty or `MyValue`, `my_value`, `12345`.
    public static func labelValue(_ value: String) -> [String] {
        tooLong(value, labelLimit)
            + mismatch(
                value.isEmpty || isToken(value.utf8[...]),
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                    + "and must start and end with an alphanumeric character",
                "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", ["MyValue", "my_value", "12345"])
    }

    /// A container port's name (RFC 6335 §5.1): at most 15, `http`, `dns-tcp`.
    public static func portName(_ name: String) -> [String] {
        var problems = tooLong(name, 15)
        if name.isEmpty || !name.utf8.allSatisfy({ isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }) {
            problems.append("must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)")
        }
        if !name.utf8.contains(where: isLower) { problems.append("must contain at least one letter (a-z)") }
        if name.contains("--") { problems.append("must not contain consecutive hyphens") }
        if name.hasPrefix("-") || name.hasSuffix("-") { problems.append("must not begin or end with a hyphen") }
        return problems
    }

    /// A port number.
    public static func portNumber(_ port: Int64) -> [String] {
        (1...65535).contains(port) ? [] : ["must be between 1 and 65535, inclusive"]
    }

    /// A key in a ConfigMap or Secret, which becomes a file's name.
    public static func configKey(_ key: String) -> [String] {
        if key == "." || key == ".." { return ["must not be '\(key)'"] }
        if key.hasPrefix("..") { return ["must not start with '..'"] }
        let fine = !key.isEmpty && key.utf8.allSatisfy { isTokenByte($0) }
        return tooLong(key, subdomainLimit)
            + mismatch(
                fine, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+",
                ["key.name", "KEY_NAME", "key-name"])
    }

    /// An environment variable's name: printable ASCII but `=` (KEP-4369).
    public static func environmentVariable(_ name: String) -> [String] {
        let fine = !name.isEmpty && name.utf8.allSatisfy { (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "=") }
        return fine
            ? []
            : ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    }

    private static func tooLong(_ text: String, _ limit: Int) -> [String] {
        text.utf8.count > limit ? ["must be no more than \(limit) bytes"] : []
    }

    private static func mismatch(
        _ fine: Bool, _ rule: String, _ expression: String, _ examples: [String]
    ) -> [String] {
        if fine { return [] }
        let shown = examples.map { "'\($0)', " }.joined(separator: " or ")
        return ["\(rule) (e.g. \(shown)regex used for validation is '\(expression)')"]
    }

    private static func isDNSLabel(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first, let last = bytes.last else { return false }
        let isEdge = { (byte: UInt8) in isLower(byte) || isDigit(byte) }
        return isEdge(first) && isEdge(last) && bytes.allSatisfy { isEdge($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isToken(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first, let last = bytes.last else { return false }
        return isAlphanumeric(first) && isAlphanumeric(last) && bytes.allSatisfy(isTokenByte)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLower(byte) || isDigit(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    private static func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
