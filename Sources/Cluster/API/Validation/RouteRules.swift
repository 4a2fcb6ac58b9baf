import Bytes
import JSON

/// What holds for the routes of gateway.networking.k8s.io.
enum RouteRules {
    private static let hostnameLimit = 16
    private static let ruleLimit = 16
    private static let matchLimit = 64
    /// Of all rules of a route together.
    private static let totalMatchLimit = 128
    private static let listLimit = 16
    private static let methods = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ]

    static func checkHTTP(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkCommon(spec, &findings)
        for rule in spec["rules"].elements {
            for match in rule["matches"].elements {
                checkPath(match["path"], &findings)
                findings.oneOf(match["method"], methods)
                for part in ["headers", "queryParams"] { checkHeaderMatches(match[part], &findings) }
            }
            checkFilters(rule, kinds: httpFilters, &findings)
            for backend in rule["backendRefs"].elements { checkFilters(backend, kinds: httpFilters, &findings) }
            let filters = rule["filters"].elements
            if filters.contains(where: { $0["type"].text == "RequestRedirect" }), !rule["backendRefs"].isEmpty {
                findings.add(.forbidden(rule["backendRefs"].path, "may not be set together with a RequestRedirect"))
            }
            if replacesPrefix(rule), !matchesOnePrefix(rule) {
                findings.add(
                    rule["matches"].invalid(
                        "a filter that replaces the matched prefix needs exactly one match of type PathPrefix"))
            }
            checkTimeouts(rule["timeouts"], &findings)
            checkRetry(rule["retry"], &findings)
        }
    }

    static func checkGRPC(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkCommon(spec, &findings)
        for rule in spec["rules"].elements {
            for match in rule["matches"].elements {
                let method = match["method"]
                findings.oneOf(method["type"], ["Exact", "RegularExpression"])
                if method.exists, method["service"].isEmpty, method["method"].isEmpty {
                    findings.add(.required(method["service"].path, "service or method must be set"))
                }
                if method["type"].text != "RegularExpression" {
                    findings.check(method["method"]) { isGRPCName($0) ? [] : ["must be the name of a gRPC method"] }
                    findings.check(method["service"]) { name in
                        let fine = name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
                            isGRPCName(String($0))
                        }
                        return fine ? [] : ["must be the name of a gRPC service"]
                    }
                }
                checkHeaderMatches(match["headers"], &findings)
            }
            checkFilters(rule, kinds: grpcFilters, &findings)
            for backend in rule["backendRefs"].elements { checkFilters(backend, kinds: grpcFilters, &findings) }
        }
    }

    static func checkTLS(_ object: Field, _ findings: inout Findings) {
        if findings.require(object["spec"]["hostnames"], "a TLSRoute names at least one host") {
            for name in object["spec"]["hostnames"].elements where IPAddress(name.text) != nil {
                findings.add(name.invalid("may not be an IP address"))
            }
        }
        checkStream(object, &findings)
    }

    /// TCP and UDP routes; also the common part of TLS.
    static func checkStream(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        checkCommon(spec, hostnameLimit: 1024, &findings)
        findings.require(spec["rules"])
        findings.atMost(1, spec["rules"])
        for rule in spec["rules"].elements { findings.require(rule["backendRefs"]) }
    }

    // MARK: Parts

    private static func checkCommon(
        _ spec: Field, hostnameLimit: Int = RouteRules.hostnameLimit, _ findings: inout Findings
    ) {
        checkParents(spec["parentRefs"], &findings)
        findings.atMost(hostnameLimit, spec["hostnames"])
        for name in spec["hostnames"].elements { findings.check(name, GatewayRules.hostname) }
        let rules = spec["rules"]
        findings.atMost(ruleLimit, rules)
        findings.unique(rules.elements.filter { !$0["name"].isEmpty }.map { ($0["name"], $0["name"].text) })
        var matches = 0
        for rule in rules.elements {
            findings.check(rule["name"], Names.dns1123Subdomain)
            findings.atMost(matchLimit, rule["matches"])
            matches += rule["matches"].elements.count
            findings.atMost(listLimit, rule["backendRefs"])
            for backend in rule["backendRefs"].elements { checkBackend(backend, &findings) }
        }
        if matches > totalMatchLimit {
            findings.add(rules.invalid("may have \(totalMatchLimit) matches in all rules together, not \(matches)"))
        }
    }

    /// Two references to one parent must tell which part of it each means.
    private static func checkParents(_ parents: Field, _ findings: inout Findings) {
        findings.atMost(GatewayRules.parentLimit, parents)
        var shapes: [String: (section: Bool, port: Bool)] = [:]
        for parent in parents.elements {
            findings.require(parent["name"])
            findings.check(parent["group"], GatewayRules.group)
            findings.check(parent["kind"], GatewayRules.kind)
            findings.port(parent["port"])
            findings.check(parent["namespace"], Names.dns1123Label)
            findings.check(parent["sectionName"], Names.dns1123Subdomain)
            let target = parentTarget(parent)
            let shape = (section: !parent["sectionName"].isEmpty, port: parent["port"].exists)
            if let other = shapes[target], other != shape || (!shape.section && !shape.port) {
                findings.add(parent.invalid("two references to one parent must both name a sectionName or a port"))
            }
            shapes[target] = shape
        }
        findings.unique(
            parents.elements.map { parent in
                let place = "\(parent["sectionName"].text) \(parent["port"].int ?? 0)"
                return (parent, "\(parentTarget(parent)) \(place)")
            })
    }

    private static func parentTarget(_ parent: Field) -> String {
        ["group", "kind", "namespace", "name"].map { parent[$0].text }.joined(separator: "/")
    }

    private static func checkBackend(_ backend: Field, _ findings: inout Findings) {
        findings.require(backend["name"])
        findings.check(backend["group"], GatewayRules.group)
        findings.check(backend["kind"], GatewayRules.kind)
        findings.check(backend["namespace"], Names.dns1123Label)
        if backend["group"].isEmpty, ["", "Service"].contains(backend["kind"].text), !backend["port"].exists {
            findings.add(.required(backend["port"].path, "a Service is referred to with its port"))
        }
        findings.port(backend["port"])
        if let weight = backend["weight"].int, !(0...1_000_000).contains(weight) {
            findings.add(backend["weight"].invalid("must be between 0 and 1000000, inclusive"))
        }
    }

    private static func checkPath(_ path: Field, _ findings: inout Findings) {
        findings.oneOf(path["type"], ["Exact", "PathPrefix", "RegularExpression"])
        guard path["type"].text != "RegularExpression", path["value"].exists else { return }
        let text = path["value"].text
        let problem: String? =
            if !text.hasPrefix("/") {
                "must be an absolute path"
            } else if ["//", "/./", "/../", "%2f", "%2F", "#"].contains(where: { text.contains($0) }) {
                "must not contain '//', '/./', '/../', '%2f' or '#'"
            } else if text.hasSuffix("/.") || text.hasSuffix("/..") {
                "must not end with '/.' or '/..'"
            } else if !isPath(text) {
                "must only contain characters of a path (RFC 3986)"
            } else {
                nil
            }
        if let problem { findings.add(path["value"].invalid(problem)) }
    }

    private static func checkHeaderMatches(_ matches: Field, _ findings: inout Findings) {
        findings.atMost(listLimit, matches)
        findings.unique(matches.elements.map { ($0["name"], $0["name"].text.lowercased()) })
        for match in matches.elements {
            findings.oneOf(match["type"], ["Exact", "RegularExpression"])
            checkToken(match["name"], &findings)
            findings.require(match["value"])
        }
    }

    /// By type of filter: the member that holds it, and whether a rule may have it twice.
    private static let httpFilters: [String: (member: String, repeats: Bool)] = grpcFilters.merging([
        "RequestRedirect": ("requestRedirect", false), "URLRewrite": ("urlRewrite", false), "CORS": ("cors", false),
        "ExternalAuth": ("externalAuth", true),
    ]) { $1 }
    private static let grpcFilters: [String: (member: String, repeats: Bool)] = [
        "RequestHeaderModifier": ("requestHeaderModifier", false),
        "ResponseHeaderModifier": ("responseHeaderModifier", false), "RequestMirror": ("requestMirror", true),
        "ExtensionRef": ("extensionRef", true),
    ]

    private static func checkFilters(
        _ owner: Field, kinds: [String: (member: String, repeats: Bool)], _ findings: inout Findings
    ) {
        let filters = owner["filters"].elements
        findings.atMost(listLimit, owner["filters"])
        findings.unique(
            filters.filter { kinds[$0["type"].text]?.repeats == false }.map { ($0["type"], $0["type"].text) })
        if filters.contains(where: { $0["type"].text == "RequestRedirect" }),
            filters.contains(where: { $0["type"].text == "URLRewrite" })
        {
            findings.add(owner["filters"].invalid("RequestRedirect and URLRewrite exclude each other"))
        }
        for filter in filters {
            findings.oneOf(filter["type"], kinds.keys.sorted(), required: true)
            for (type, kind) in kinds.sorted(by: { $0.key < $1.key }) {
                findings.member(kind.member, of: filter, with: type)
            }
            for change in ["requestHeaderModifier", "responseHeaderModifier"] {
                checkHeaderChange(filter[change], &findings)
            }
            let redirect = filter["requestRedirect"]
            findings.oneOf(redirect["scheme"], ["http", "https"])
            findings.port(redirect["port"])
            if let code = redirect["statusCode"].int, ![301, 302, 303, 307, 308].contains(code) {
                findings.add(
                    .notSupported(
                        redirect["statusCode"].path, .int(code), supported: ["301", "302", "303", "307", "308"]))
            }
            for place in [redirect, filter["urlRewrite"]] {
                findings.check(place["hostname"], Names.dns1123Subdomain)
                guard place["path"].exists else { continue }
                findings.oneOf(
                    place["path"]["type"], ["ReplaceFullPath", "ReplacePrefixMatch"], required: true)
                // An empty replacement is a value: it takes the prefix away.
                if place["path"]["type"].text == "ReplaceFullPath", !place["path"]["replaceFullPath"].exists {
                    findings.add(.required(place["path"]["replaceFullPath"].path))
                }
                if place["path"]["type"].text == "ReplacePrefixMatch", !place["path"]["replacePrefixMatch"].exists {
                    findings.add(.required(place["path"]["replacePrefixMatch"].path))
                }
            }
            let mirror = filter["requestMirror"]
            if mirror.exists { checkBackend(mirror["backendRef"], &findings) }
            if mirror["percent"].exists, mirror["fraction"].exists {
                findings.add(mirror.invalid("percent and fraction exclude each other"))
            }
            if let percent = mirror["percent"].int, !(0...100).contains(percent) {
                findings.add(mirror["percent"].invalid("must be between 0 and 100, inclusive"))
            }
            if let part = mirror["fraction"]["numerator"].int, let whole = mirror["fraction"]["denominator"].int,
                part < 0 || whole < 1 || part > whole
            {
                findings.add(mirror["fraction"].invalid("must be a fraction between 0 and 1"))
            }
        }
    }

    private static func checkHeaderChange(_ change: Field, _ findings: inout Findings) {
        for verb in ["add", "set"] {
            findings.atMost(listLimit, change[verb])
            findings.unique(change[verb].elements.map { ($0["name"], $0["name"].text.lowercased()) })
            for header in change[verb].elements {
                checkToken(header["name"], &findings)
                if findings.require(header["value"]), !isHeaderValue(header["value"].text) {
                    findings.add(header["value"].invalid("must be visible characters with single blanks between them"))
                }
            }
        }
        findings.atMost(listLimit, change["remove"])
        findings.unique(change["remove"].elements.map { ($0, $0.text.lowercased()) })
    }

    private static func replacesPrefix(_ rule: Field) -> Bool {
        rule["filters"].elements.contains { filter in
            ["requestRedirect", "urlRewrite"].contains {
                filter[$0]["path"]["type"].text == "ReplacePrefixMatch"
            }
        }
    }

    private static func matchesOnePrefix(_ rule: Field) -> Bool {
        let matches = rule["matches"].elements
        return matches.count == 1 && matches[0]["path"]["type"].text == "PathPrefix"
    }

    private static func checkTimeouts(_ timeouts: Field, _ findings: inout Findings) {
        for name in ["request", "backendRequest"] { findings.check(timeouts[name], duration) }
        if let whole = GatewayDuration(timeouts["request"].text), whole.milliseconds > 0,
            let one = GatewayDuration(timeouts["backendRequest"].text), one.milliseconds > whole.milliseconds
        {
            findings.add(timeouts["backendRequest"].invalid("must not be longer than request"))
        }
    }

    private static func checkRetry(_ retry: Field, _ findings: inout Findings) {
        findings.check(retry["backoff"], duration)
        findings.positive(retry["attempts"])
        for code in retry["codes"].elements where !(400...599).contains(code.int ?? 0) {
            findings.add(code.invalid("must be between 400 and 599, inclusive"))
        }
    }

    private static func duration(_ text: String) -> [String] {
        GatewayDuration(text) == nil ? ["must be a duration (GEP-2257) such as 10s, 1m30s or 500ms"] : []
    }

    private static func checkToken(_ name: Field, _ findings: inout Findings) {
        guard findings.require(name) else { return }
        if !name.text.utf8.allSatisfy(isTokenByte) { findings.add(name.invalid("must be a header name (RFC 9110)")) }
    }

    // MARK: Characters

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }

    /// As upstream's schemas have it: no blank at either end, and never two beside each other.
    private static func isHeaderValue(_ text: String) -> Bool {
        var afterBlank = true
        for byte in text.utf8 {
            if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
                guard !afterBlank else { return false }
                afterBlank = true
            } else {
                guard (0x21...0x7e).contains(byte) else { return false }
                afterBlank = false
            }
        }
        return !afterBlank
    }

    private static func isPath(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        for (index, byte) in bytes.enumerated() where !isAlphanumeric(byte) {
            if byte == UInt8(ascii: "%") {
                let digits = bytes[(index + 1)...].prefix(2)
                guard digits.count == 2, digits.allSatisfy(isHexDigit) else { return false }
            } else if !"-/._~!$&'()*+,;=:@".utf8.contains(byte) {
                return false
            }
        }
        return true
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    private static func isGRPCName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
    }
}
