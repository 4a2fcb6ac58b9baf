import Bytes

/// A regular expression of the configuration's engine, asked from within a handshake on any loop.
public protocol NameExpression: Sendable {
    /// Whether it matches the whole of `text`.
    func matches(_ text: String) -> Bool
}

/// One way in which a peer's certificate may be the wanted one (`SubjectAltNameMatcher`).
public struct NameMatcher: Sendable {
    /// Which of a certificate's names are looked at.
    public enum NameType: Hashable, Sendable {
        case dns, uri, email, address
        /// Names of a type of their own, by its object identifier in dotted form.
        case other(oid: String)
    }

    public enum Text: Sendable {
        case exact(String)
        case prefix(String)
        case suffix(String)
        case contains(String)
        case expression(any NameExpression)
    }

    public var type: NameType
    public var text: Text
    /// For all but expressions, which say it themselves.
    public var ignoresCase: Bool

    public init(_ type: NameType, _ text: Text, ignoresCase: Bool = false) {
        self.type = type
        self.text = text
        self.ignoresCase = ignoresCase
    }

    /// Whether any name of this matcher's type fits.
    public func matches(_ names: AlternativeNames) -> Bool {
        switch type {
        case .dns:
            // Envoy: a wildcard in the certificate stands for what an exact matcher names.
            if case .exact(let wanted) = text { return names.dns.contains { Self.dnsName($0, covers: wanted) } }
            return names.dns.contains(where: matches)
        case .uri: return names.uris.contains(where: matches)
        case .email: return names.emails.contains(where: matches)
        case .address: return names.addresses.contains { matches($0.description) }
        case .other(let oid): return names.others.contains { $0.oid == oid && matches($0.value) }
        }
    }

    private func matches(_ name: String) -> Bool {
        let name = ignoresCase ? name.lowercased() : name
        func wanted(_ text: String) -> String { ignoresCase ? text.lowercased() : text }
        switch text {
        case .exact(let text): return name == wanted(text)
        case .prefix(let text): return name.hasPrefix(wanted(text))
        case .suffix(let text): return name.hasSuffix(wanted(text))
        case .contains(let text): return name.contains(wanted(text))
        case .expression(let expression): return expression.matches(name)
        }
    }

    /// RFC 6125 §6.4.3: a `*.` stands for exactly one label.
    static func dnsName(_ certified: String, covers wanted: String) -> Bool {
        let certified = certified.lowercased()
        let wanted = wanted.lowercased()
        if certified == wanted { return true }
        guard certified.hasPrefix("*."), let dot = wanted.firstIndex(of: "."), dot != wanted.startIndex else {
            return false
        }
        return wanted[dot...] == certified.dropFirst()
    }

    /// One spelling for equal meaning; expressions are all alike.
    var summary: String {
        let words =
            switch text {
            case .exact(let text): "exact \(text)"
            case .prefix(let text): "prefix \(text)"
            case .suffix(let text): "suffix \(text)"
            case .contains(let text): "contains \(text)"
            case .expression: "expression"
            }
        return "\(type) \(words) \(ignoresCase)"
    }
}
