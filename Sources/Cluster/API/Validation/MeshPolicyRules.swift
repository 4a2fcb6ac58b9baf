import Bytes
import JSON

/// What holds for PeerAuthentication and AuthorizationPolicy (security.istio.io). Upstream a webhook says it.
enum MeshPolicyRules {
    /// Rules of a policy, and entries of each of their lists.
    static let listLimit = 512

    private static let modes = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]

    static func checkPeers(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkSelector(spec["selector"], &findings)
        findings.oneOf(spec["mtls"]["mode"], modes)
        let ports = spec["portLevelMtls"]
        if !ports.isEmpty, spec["selector"]["matchLabels"].isEmpty {
            findings.add(.required(spec["selector"]["matchLabels"].path, "portLevelMtls needs a selector"))
        }
        for (port, mode) in ports.entries {
            checkPort(port, mode, &findings)
            findings.oneOf(mode["mode"], modes)
        }
    }

    static func checkAuthorization(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkSelector(spec["selector"], &findings)
        findings.oneOf(spec["action"], ["ALLOW", "DENY", "AUDIT", "CUSTOM"])
        if spec["action"].text == "CUSTOM" { findings.require(spec["provider"]["name"]) }
        if !spec["selector"].isEmpty, !spec["targetRefs"].isEmpty || !spec["targetRef"].isEmpty {
            findings.add(.forbidden(spec["selector"].path, "may not be set together with targetRefs"))
        }
        if spec["action"].text == "DENY", spec["rules"].isEmpty {
            findings.add(.required(spec["rules"].path, "a DENY policy without rules denies nothing"))
        }
        findings.atMost(listLimit, spec["rules"])
        for rule in spec["rules"].elements {
            for part in ["from", "to", "when"] {
                findings.atMost(listLimit, rule[part])
                if rule[part].exists, rule[part].isEmpty {
                    findings.add(.required(rule[part].path, "an empty list matches nothing; leave it out to match all"))
                }
            }
            for source in rule["from"].elements { checkSource(source["source"], &findings) }
            for target in rule["to"].elements { checkOperation(target["operation"], &findings) }
            for condition in rule["when"].elements { checkCondition(condition, &findings) }
        }
    }

    /// What is stored and does not hold.
    static func remarks(_ object: Field) -> [String] {
        let spec = object["spec"]
        var remarks: [String] = []
        for target in spec["targetRefs"].elements + [spec["targetRef"]]
        where target.exists && !["Service", "Gateway"].contains(target["kind"].text) {
            remarks.append("\(target.path): the policy is stored and not enforced; targets are a Service or a Gateway")
        }
        return remarks
    }

    static func checkRequests(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkSelector(spec["selector"], &findings)
        if !spec["selector"].isEmpty, !spec["targetRefs"].isEmpty || !spec["targetRef"].isEmpty {
            findings.add(.forbidden(spec["selector"].path, "may not be set together with targetRefs"))
        }
        findings.atMost(listLimit, spec["jwtRules"])
        for rule in spec["jwtRules"].elements {
            findings.require(rule["issuer"])
            if !rule["jwks"].text.isEmpty, !rule["jwksUri"].text.isEmpty {
                findings.add(.forbidden(rule["jwks"].path, "may not be set together with jwksUri"))
            }
            let uri = rule["jwksUri"]
            if !uri.text.isEmpty, !uri.text.hasPrefix("http://"), !uri.text.hasPrefix("https://") {
                findings.add(uri.invalid("must be an http or https URL"))
            }
            for header in rule["fromHeaders"].elements { findings.require(header["name"]) }
            for copy in rule["outputClaimToHeaders"].elements {
                findings.require(copy["header"])
                findings.require(copy["claim"])
            }
        }
    }

    private static func checkSelector(_ selector: Field, _ findings: inout Findings) {
        for (key, label) in selector["matchLabels"].entries {
            if key.contains("*") || label.text.contains("*") {
                findings.add(label.invalid("a star is not supported in selectors"))
            }
        }
    }

    private static func checkSource(_ source: Field, _ findings: inout Findings) {
        if source.isEmpty { findings.add(.required(source.path)) }
        for field in ["principals", "requestPrincipals", "namespaces"] {
            for list in [source[field], source[negated(field)]] { checkPatterns(list, &findings) }
        }
        for field in ["ipBlocks", "remoteIpBlocks"] {
            for list in [source[field], source[negated(field)]] {
                for block in list.elements { checkBlock(block, &findings) }
            }
        }
        let accounts = source["serviceAccounts"].elements + source["notServiceAccounts"].elements
        for account in accounts {
            let parts = account.text.split(separator: "/", omittingEmptySubsequences: false)
            if parts.count > 2 || parts.contains("") || account.text.contains("*") {
                findings.add(account.invalid("must be a name, or a namespace, a slash and a name; no star is taken"))
            }
        }
        if !accounts.isEmpty {
            for field in ["principals", "namespaces", "notPrincipals", "notNamespaces"] where !source[field].isEmpty {
                findings.add(.forbidden(source[field].path, "may not be set together with serviceAccounts"))
            }
        }
    }

    private static func checkOperation(_ operation: Field, _ findings: inout Findings) {
        if operation.isEmpty { findings.add(.required(operation.path)) }
        for field in ["hosts", "methods"] {
            for list in [operation[field], operation[negated(field)]] { checkPatterns(list, &findings) }
        }
        for list in [operation["paths"], operation["notPaths"]] {
            for path in list.elements {
                // A template's stars stand in braces.
                if path.text.contains("{") { continue }
                checkPattern(path, &findings)
            }
        }
        for list in [operation["ports"], operation["notPorts"]] {
            for port in list.elements { checkPort(port.text, port, &findings) }
        }
    }

    private static let keys: Set<String> = [
        "source.ip", "remote.ip", "source.namespace", "source.principal", "source.serviceAccount",
        "request.auth.principal",
        "request.auth.audiences", "request.auth.presenter", "destination.ip", "destination.port", "connection.sni",
    ]

    private static func checkCondition(_ condition: Field, _ findings: inout Findings) {
        let key = condition["key"]
        guard findings.require(key) else { return }
        let isKnown =
            keys.contains(key.text) || key.text.hasPrefix("experimental.envoy.filters.")
            || ["request.headers[", "request.auth.claims["].contains {
                key.text.hasPrefix($0) && key.text.hasSuffix("]")
            }
        if !isKnown { findings.add(key.invalid("unknown attribute")) }
        if condition["values"].isEmpty, condition["notValues"].isEmpty {
            findings.add(.required(condition["values"].path, "values or notValues must be set"))
        }
        for value in condition["values"].elements + condition["notValues"].elements {
            switch key.text {
            case "source.ip", "remote.ip", "destination.ip": checkBlock(value, &findings)
            case "destination.port": checkPort(value.text, value, &findings)
            default: break
            }
        }
    }

    // MARK: Values

    private static func negated(_ field: String) -> String { "not" + field.prefix(1).uppercased() + field.dropFirst() }

    private static func checkPatterns(_ list: Field, _ findings: inout Findings) {
        for pattern in list.elements { checkPattern(pattern, &findings) }
    }

    private static func checkPattern(_ pattern: Field, _ findings: inout Findings) {
        if pattern.text.isEmpty { findings.add(.required(pattern.path)) }
        let stars = pattern.text.filter { $0 == "*" }.count
        if stars > 1 || stars == 1 && !pattern.text.hasPrefix("*") && !pattern.text.hasSuffix("*") {
            findings.add(pattern.invalid("one star is taken, at the beginning or at the end"))
        }
    }

    private static func checkBlock(_ block: Field, _ findings: inout Findings) {
        guard IPAddress(block.text) == nil, CIDR(block.text) == nil else { return }
        findings.add(block.invalid("must be an address or a range (e.g. 10.0.0.0/8)"))
    }

    private static func checkPort(_ text: String, _ field: Field, _ findings: inout Findings) {
        if let port = Int(text), (1...65535).contains(port) { return }
        findings.add(field.invalid("must be a port, 1 to 65535"))
    }
}
