import Bytes
import JSON

/// One rule of an AuthorizationPolicy, as permissions and principals of which each one is enough.
///
/// What cannot be known where it is asked makes a rule that allows match nothing, and is left out of a rule that denies, which then
/// denies more: whoever errs does so on the safe side.
struct AuthorizationRule {
    private typealias Layer = AuthorizationTranslation.Layer

    /// Nil: the rule matches nothing here.
    let permissions: [JSONValue]?
    let principals: [JSONValue]?

    /// - Parameter namespace: The policy's, which service accounts without one are of.
    init(_ rule: JSONValue, layer: AuthorizationTranslation.Layer, isDeny: Bool, namespace: String) {
        let reader = Reader(layer: layer, isDeny: isDeny, namespace: namespace)
        permissions = reader.alternatives(
            rule.list("to").map { $0["operation"] ?? .null }, Reader.operations, rule.list("when"),
            Reader.operationKeys,
            set: "and_rules", member: "rules")
        principals = reader.alternatives(
            rule.list("from").map { $0["source"] ?? .null }, Reader.sources, rule.list("when"), Reader.sourceKeys,
            set: "and_ids", member: "ids")
    }
}

private struct Reader {
    let layer: AuthorizationTranslation.Layer
    let isDeny: Bool
    let namespace: String

    /// What a value of a field means; nil where it cannot be known.
    typealias Meaning = @Sendable (Reader, String) -> JSONValue?

    static let operations: [(field: String, negation: String, meaning: Meaning)] = [
        ("hosts", "notHosts", { $0.header(":authority", $1, ignoresCase: true) }),
        ("ports", "notPorts", { port($1) }),
        ("methods", "notMethods", { $0.header(":method", $1) }),
        ("paths", "notPaths", { $0.path($1) }),
    ]

    static let sources: [(field: String, negation: String, meaning: Meaning)] = [
        ("principals", "notPrincipals", { principal($1) }),
        ("requestPrincipals", "notRequestPrincipals", { $0.requestPrincipal($1) }),
        ("namespaces", "notNamespaces", { namespace($1) }),
        ("serviceAccounts", "notServiceAccounts", { $0.account($1) }),
        ("ipBlocks", "notIpBlocks", { range($1).map { ["direct_remote_ip": $0] } }),
        ("remoteIpBlocks", "notRemoteIpBlocks", { range($1).map { ["remote_ip": $0] } }),
    ]

    /// Conditions on what is wanted; nil: the key is one of those on who asks.
    static func operationKeys(_ key: String) -> Meaning? {
        switch key {
        case "destination.ip": { range($1).map { ["destination_ip": $0] } }
        case "destination.port": { port($1) }
        case "connection.sni": { ["requested_server_name": text($1)] }
        default: nil
        }
    }

    static func sourceKeys(_ key: String) -> Meaning? {
        switch key {
        case "source.ip": return { range($1).map { ["direct_remote_ip": $0] } }
        case "remote.ip": return { range($1).map { ["remote_ip": $0] } }
        case "source.namespace": return { namespace($1) }
        case "source.principal": return { principal($1) }
        case "source.serviceAccount": return { $0.account($1) }
        case "request.auth.principal": return { $0.requestPrincipal($1) }
        case "request.auth.audiences": return { $0.claim(["aud"], $1) }
        case "request.auth.presenter": return { $0.claim(["azp"], $1) }
        default:
            if operationKeys(key) != nil { return nil }
            if let path = TokenTranslation.path(ofKey: key) { return { $0.claim(path, $1) } }
            guard key.hasPrefix("request.headers["), key.hasSuffix("]") else { return { _, _ in nil } }
            let name = String(key.dropFirst("request.headers[".count).dropLast())
            return { $0.header(name, $1) }
        }
    }

    /// Each entry is one alternative, of which all fields must hold; all of them under the same conditions.
    func alternatives(
        _ entries: [JSONValue], _ fields: [(field: String, negation: String, meaning: Meaning)],
        _ conditions: [JSONValue],
        _ keys: (String) -> Meaning?, set: String, member: String
    ) -> [JSONValue]? {
        let words = (or: set == "and_ids" ? "or_ids" : "or_rules", not: set == "and_ids" ? "not_id" : "not_rule")
        func oneOf(_ values: [JSONValue]) -> JSONValue { .object([words.or: .object([member: .array(values)])]) }
        /// False: it cannot be known, and an allowing rule matches nothing.
        func add(_ values: [JSONValue], _ meaning: Meaning, isNegated: Bool, to all: inout [JSONValue]) -> Bool {
            guard !values.isEmpty else { return true }
            let read = values.compactMap { value in meaning(self, value.string ?? value.int.map { String($0) } ?? "") }
            guard read.count == values.count else { return isDeny }
            all.append(isNegated ? .object([words.not: oneOf(read)]) : oneOf(read))
            return true
        }
        var shared: [JSONValue] = []
        for condition in conditions {
            guard let meaning = keys(condition.text("key")) else { continue }
            guard add(condition.list("values"), meaning, isNegated: false, to: &shared),
                add(condition.list("notValues"), meaning, isNegated: true, to: &shared)
            else { return nil }
        }
        var result: [JSONValue] = []
        for entry in entries.isEmpty ? [.null] : entries {
            var all: [JSONValue] = []
            let isKnown = fields.allSatisfy { field in
                add(entry.list(field.field), field.meaning, isNegated: false, to: &all)
                    && add(entry.list(field.negation), field.meaning, isNegated: true, to: &all)
            }
            guard isKnown else { continue }
            all += shared
            result.append(.object([set: .object([member: .array(all.isEmpty ? [["any": true]] : all)])]))
        }
        return result.isEmpty ? nil : result
    }

    // MARK: Values

    /// Exact, or with a star at its beginning or its end, or a star alone: whatever is there.
    private static func text(_ value: String, ignoresCase: Bool = false) -> JSONValue {
        var matcher: JSONObject
        if value == "*" {
            return ["safe_regex": ["regex": ".+"]]
        } else if value.hasPrefix("*") {
            matcher = ["suffix": .string(String(value.dropFirst()))]
        } else if value.hasSuffix("*") {
            matcher = ["prefix": .string(String(value.dropLast()))]
        } else {
            matcher = ["exact": .string(value)]
        }
        if ignoresCase { matcher["ignore_case"] = true }
        return .object(matcher)
    }

    private func header(_ name: String, _ value: String, ignoresCase: Bool = false) -> JSONValue? {
        guard layer != .connections else { return nil }
        if value == "*" { return ["header": ["name": .string(name), "present_match": true]] }
        return ["header": ["name": .string(name), "string_match": Self.text(value, ignoresCase: ignoresCase)]]
    }

    private func path(_ value: String) -> JSONValue? {
        guard layer != .connections else { return nil }
        guard value.contains("{*}") || value.contains("{**}") else { return ["url_path": ["path": Self.text(value)]] }
        // A template: one segment, or any number of them.
        var regex = ""
        var rest = Substring(value)
        while !rest.isEmpty {
            if rest.hasPrefix("{**}") {
                regex += ".*"
                rest = rest.dropFirst(4)
            } else if rest.hasPrefix("{*}") {
                regex += "[^/]+"
                rest = rest.dropFirst(3)
            } else {
                regex += Self.quoted(rest.removeFirst())
            }
        }
        return ["url_path": ["path": ["safe_regex": ["regex": .string(regex)]]]]
    }

    private static func port(_ value: String) -> JSONValue? {
        UInt16(value).map { ["destination_port": .int(Int64($0))] }
    }

    private static func range(_ value: String) -> JSONValue? {
        let whole = IPAddress(value).map(CIDR.init(host:))
        guard let range = whole ?? CIDR(value) else { return nil }
        return ["address_prefix": .string("\(range.address)"), "prefix_len": .int(Int64(range.prefixLength))]
    }

    private func claim(_ path: [String], _ value: String) -> JSONValue? {
        layer == .requests ? TokenTranslation.claim(path, Self.text(value)) : nil
    }

    /// Of a token: `ISSUER/SUBJECT`, where an issuer may have slashes, and a subject has none.
    private func requestPrincipal(_ value: String) -> JSONValue? {
        guard layer == .requests else { return nil }
        func both(_ issuer: JSONValue, _ subject: JSONValue) -> JSONValue {
            [
                "and_ids": [
                    "ids": [TokenTranslation.claim(["iss"], issuer), TokenTranslation.claim(["sub"], subject)]
                ]
            ]
        }
        let any = Self.text("*")
        if value == "*" { return both(any, any) }
        if value.hasPrefix("*/") { return both(any, ["exact": .string(String(value.dropFirst(2)))]) }
        if value.hasPrefix("*") { return both(any, Self.text(value)) }
        let slash = value.lastIndex(of: "/")
        let split = slash.map {
            both(["exact": .string(String(value[..<$0]))], Self.text(String(value[value.index(after: $0)...])))
        }
        guard value.hasSuffix("*"), !value.hasSuffix("/*") else { return split }
        // The star may end an issuer or a subject.
        let issuer = both(Self.text(value), any)
        return split.map { ["or_ids": ["ids": [$0, issuer]]] } ?? issuer
    }

    /// `cluster.local/ns/shop/sa/web`: a SPIFFE name without its scheme.
    private static func principal(_ value: String) -> JSONValue {
        let matcher: JSONValue =
            if value == "*" {
                ["safe_regex": ["regex": ".+"]]
            } else if value.hasPrefix("*") {
                ["safe_regex": ["regex": .string("spiffe://.*" + quoted(value.dropFirst()))]]
            } else if value.hasSuffix("*") {
                ["prefix": .string("spiffe://" + value.dropLast())]
            } else {
                ["exact": .string("spiffe://" + value)]
            }
        return authenticated(matcher)
    }

    private static func namespace(_ value: String) -> JSONValue {
        let pattern =
            if value == "*" {
                "[^/]+"
            } else if value.hasPrefix("*") {
                "[^/]*" + quoted(value.dropFirst())
            } else if value.hasSuffix("*") {
                quoted(value.dropLast()) + "[^/]*"
            } else {
                quoted(Substring(value))
            }
        return authenticated(["safe_regex": ["regex": .string("spiffe://[^/]+/ns/\(pattern)/sa/.*")]])
    }

    /// `web`, of the policy's namespace, or `shop/web`.
    private func account(_ value: String) -> JSONValue? {
        let parts = value.split(separator: "/", maxSplits: 1).map { Self.quoted($0) }
        guard let name = parts.last else { return nil }
        let namespace = parts.count == 2 ? parts[0] : Self.quoted(Substring(namespace))
        return Self.authenticated(["safe_regex": ["regex": .string("spiffe://[^/]+/ns/\(namespace)/sa/\(name)")]])
    }

    private static func authenticated(_ matcher: JSONValue) -> JSONValue {
        ["authenticated": ["principal_name": matcher]]
    }

    private static func quoted(_ text: Substring) -> String { text.map { quoted($0) }.joined() }

    private static func quoted(_ character: Character) -> String {
        "\\.+*?()|[]{}^$".contains(character) ? "\\\(character)" : String(character)
    }
}
