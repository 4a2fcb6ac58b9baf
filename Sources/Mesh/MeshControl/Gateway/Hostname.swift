/// Names of hosts as the Gateway API has them: whole, or `*.` and what comes after any number of labels; "" is any.
enum Hostname {
    /// The names that both mean; nil when there is none.
    static func intersection(_ a: String, _ b: String) -> String? {
        if covers(a, b) { return b }
        return covers(b, a) ? a : nil
    }

    /// Whether all that `name` means is meant by `pattern` too.
    static func covers(_ pattern: String, _ name: String) -> Bool {
        if pattern.isEmpty || pattern == name { return true }
        guard pattern.hasPrefix("*."), !name.isEmpty else { return false }
        let suffix = pattern.dropFirst()
        return name.hasPrefix("*.")
            ? name.dropFirst().hasSuffix(suffix) : name.hasSuffix(suffix) && name.utf8.count > suffix.utf8.count
    }

    /// From the most to the least specific: the name itself, then each wildcard that covers it, then "".
    static func ladder(_ name: String) -> [String] {
        guard !name.isEmpty else { return [""] }
        var steps = [name]
        var rest = name.hasPrefix("*.") ? name.dropFirst(2) : name[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            steps.append("*.\(rest)")
        }
        return steps + [""]
    }

    /// The one of these that a request to `name` belongs to.
    static func mostSpecific(_ patterns: Set<String>, for name: String) -> String? {
        ladder(name).first { patterns.contains($0) }
    }

    /// As a virtual host's domain.
    static func domain(_ name: String) -> String { name.isEmpty ? "*" : name }
}
