import Bytes
import ClusterAPI
import JSON

/// What AuthorizationPolicies mean for one caller, as far as that is known before a request is there: pure.
struct AuthorizationCheck {
    struct Caller: Hashable {
        /// `spiffe://…`; nil for one that calls in plain text.
        var principal: String?
        var address: String
        /// The server's.
        var port: Int64
    }

    /// Whether a rule is for a caller: of some it depends on method, path, host or header.
    enum Fit: Int, Comparable {
        case no, perhaps, yes
        static func < (a: Fit, b: Fit) -> Bool { a.rawValue < b.rawValue }
    }

    private let policies: [JSONValue]
    private let caller: Caller
    private let isMeshed: Bool

    /// - Parameters:
    ///   - policies: as `/mesh/workloads` tells them.
    ///   - isMeshed: the caller has a sidecar, which may yet have nobody to show its certificate to.
    init(_ policies: [JSONValue], _ caller: Caller, isMeshed: Bool? = nil) {
        (self.policies, self.caller) = (policies, caller)
        self.isMeshed = isMeshed ?? (caller.principal != nil)
    }

    var finding: Finding {
        let topic = "authorization"
        let real = policies.filter { $0["dryRun"]?.bool != true }
        let denying = real.filter { $0.text("action") == "DENY" }
        let allowing = real.filter { $0.text("action") == "ALLOW" }
        let dry = policies.filter { $0["dryRun"]?.bool == true }.map {
            "\(Self.name($0)) is a dry run, and only told in logs"
        }
        guard !real.isEmpty else {
            return Finding(topic, .good, ["no AuthorizationPolicy is for it: everybody may"] + dry)
        }
        let who = caller.principal ?? "\(caller.address), in plain text"
        if let policy = denying.first(where: { fit($0) == .yes }) {
            return Finding(
                topic, .bad, "DENIED by \(Self.name(policy)), whatever is asked: \(who)",
                remedy: "change \(Self.name(policy)), which denies \(who)")
        }
        var sentences = real.filter { $0.text("action") == "CUSTOM" && fit($0) != .no }.map { policy in
            "\(Self.name(policy)) asks \(policy.text("provider")) about \(fit(policy) == .yes ? "all" : "some") requests"
        }
        sentences += denying.filter { fit($0) == .perhaps }.map { "\(Self.name($0)) denies some requests" }
        let isUnsure = !sentences.isEmpty
        guard !allowing.isEmpty else {
            return Finding(topic, isUnsure ? .doubtful : .good, (isUnsure ? sentences : ["nothing denies it"]) + dry)
        }
        let best = allowing.map(fit).max() ?? .no
        let names = allowing.filter { fit($0) == best }.map(Self.name).joined(separator: ", ")
        switch best {
        case .no:
            let all = allowing.map(Self.name).joined(separator: ", ")
            let isEmpty = allowing.allSatisfy { $0.list("rules").isEmpty }
            return Finding(
                topic, .bad, ["DENIED: \(all) \(isEmpty ? "allows nobody" : "allows others, not \(who)")"] + dry,
                remedy: remedy(all))
        case .perhaps:
            sentences.append("\(names) allows some requests:")
            sentences += allowing.flatMap(requests)
        case .yes: sentences.append("allowed by \(names)")
        }
        return Finding(topic, isUnsure || best == .perhaps ? .doubtful : .good, sentences + dry)
    }

    private func remedy(_ policies: String) -> String {
        guard let principal = caller.principal else {
            let way =
                isMeshed
                ? "turn mutual TLS on at its port (PeerAuthentication)"
                : "give the caller a sidecar (\(ProxyReport.howToInject))"
            return "rules that name callers need mutual TLS: \(way), and name its account in \(policies)"
        }
        let name = principal.dropFirst("spiffe://".count)
        return "add a rule with source principal \(name) to \(policies)"
    }

    /// What the rules that may be for this caller let through, in words.
    private func requests(_ policy: JSONValue) -> [String] {
        policy.list("rules").filter { fit($0, of: policy) == .perhaps }.map { rule in
            let operations = rule.list("to").map { Self.words($0["operation"] ?? .null) }.filter { !$0.isEmpty }
            let conditions = rule.list("when").map { condition in
                let values = condition.list("values").compactMap(\.string)
                let others = condition.list("notValues").compactMap(\.string)
                return condition.text("key") + (values.isEmpty ? "" : " \(values.joined(separator: " or "))")
                    + (others.isEmpty ? "" : " not \(others.joined(separator: " nor "))")
            }
            let what = operations.isEmpty ? "all" : operations.joined(separator: ", or ")
            return "  \(what)" + (conditions.isEmpty ? "" : ", when \(conditions.joined(separator: " and "))")
        }
    }

    private static func words(_ operation: JSONValue) -> String {
        ["methods", "hosts", "paths", "notMethods", "notHosts", "notPaths"].compactMap { field in
            let values = operation.list(field).compactMap(\.string)
            guard !values.isEmpty else { return nil }
            return (field.hasPrefix("not") ? "not " : "") + values.joined(separator: " or ")
        }.joined(separator: " ")
    }

    private static func name(_ policy: JSONValue) -> String {
        "AuthorizationPolicy \(policy.text("namespace"))/\(policy.text("name"))"
    }

    /// The best of its rules; one without rules fits nobody.
    func fit(_ policy: JSONValue) -> Fit {
        policy.list("rules").map { fit($0, of: policy) }.max() ?? .no
    }

    private func fit(_ rule: JSONValue, of policy: JSONValue) -> Fit {
        let sources = rule.list("from").map { self.source($0["source"] ?? .null, policy.text("namespace")) }
        let operations = rule.list("to").map { self.operation($0["operation"] ?? .null) }
        let when: Fit = rule.list("when").isEmpty ? .yes : .perhaps
        return min(sources.max() ?? .yes, operations.max() ?? .yes, when)
    }

    // MARK: One rule

    private func source(_ source: JSONValue, _ namespace: String) -> Fit {
        let name = caller.principal.map { String($0.dropFirst("spiffe://".count)) }
        // cluster.local/ns/NAMESPACE/sa/ACCOUNT
        let parts = name?.split(separator: "/").map(String.init) ?? []
        let own = parts.count == 5 ? (namespace: parts[2], account: parts[4]) : nil
        func holds(_ field: String, _ matches: (String) -> Bool) -> Bool? {
            let values = source.list(field).compactMap(\.string)
            return values.isEmpty ? nil : values.contains(where: matches)
        }
        let tests: [(String, String, (String) -> Bool)] = [
            ("principals", "notPrincipals", { pattern in name.map { Self.matches($0, pattern) } ?? false }),
            ("namespaces", "notNamespaces", { pattern in own.map { Self.matches($0.namespace, pattern) } ?? false }),
            (
                "serviceAccounts", "notServiceAccounts",
                { pattern in
                    guard let own else { return false }
                    return pattern == "\(own.namespace)/\(own.account)"
                        || own.namespace == namespace && pattern == own.account
                }
            ), ("ipBlocks", "notIpBlocks", { self.isIn($0) }),
            ("remoteIpBlocks", "notRemoteIpBlocks", { self.isIn($0) }),
        ]
        for (field, negation, matches) in tests {
            if holds(field, matches) == false || holds(negation, matches) == true { return .no }
        }
        let needsToken = !source.list("requestPrincipals").isEmpty || !source.list("notRequestPrincipals").isEmpty
        return needsToken ? .perhaps : .yes
    }

    private func operation(_ operation: JSONValue) -> Fit {
        let ports = operation.list("ports").compactMap { $0.string ?? $0.int.map { "\($0)" } }
        if !ports.isEmpty, !ports.contains("\(caller.port)") { return .no }
        let others = operation.list("notPorts").compactMap { $0.string ?? $0.int.map { "\($0)" } }
        if others.contains("\(caller.port)") { return .no }
        let depends = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"].contains {
            !operation.list($0).isEmpty
        }
        return depends ? .perhaps : .yes
    }

    private func isIn(_ block: String) -> Bool {
        guard let address = IPAddress(caller.address) else { return false }
        return (CIDR(block) ?? IPAddress(block).map(CIDR.init(host:)))?.contains(address) ?? false
    }

    /// Exact, or with a star at one end, or a star alone.
    static func matches(_ text: String, _ pattern: String) -> Bool {
        if pattern == "*" { return !text.isEmpty }
        if pattern.hasPrefix("*") { return text.hasSuffix(pattern.dropFirst()) }
        if pattern.hasSuffix("*") { return text.hasPrefix(pattern.dropLast()) }
        return text == pattern
    }
}
