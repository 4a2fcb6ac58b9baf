import JSON

/// What holds for GatewayClass, Gateway, ListenerSet, ReferenceGrant and BackendTLSPolicy. Routes are `RouteRules`.
///
/// Upstream says this in the schemas of custom resources (patterns, bounds and CEL expressions).
enum GatewayRules {
    static let listenerLimit = 64
    static let addressLimit = 16
    static let certificateLimit = 64
    static let referenceLimit = 16
    static let parentLimit = 32

    static func checkClass(_ object: Field, _ findings: inout Findings) {
        let controller = object["spec"]["controllerName"]
        if findings.require(controller) {
            let parts = controller.text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count < 2 || parts[1].isEmpty || !Names.dns1123Subdomain(String(parts[0])).isEmpty {
                findings.add(controller.invalid("must be a domain, a slash and a path (e.g. weft.dev/gateway)"))
            }
        }
        let description = object["spec"]["description"]
        if description.text.count > 64 { findings.add(.tooLong(description.path, limit: 64)) }
    }

    static func checkClassUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["spec"]["controllerName"], old["spec"]["controllerName"])
    }

    static func checkGateway(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.require(spec["gatewayClassName"])
        findings.atMost(addressLimit, spec["addresses"])
        for (kind, rule) in [("IPAddress", nil), ("Hostname", hostname as ((String) -> [String])?)] {
            let addresses = spec["addresses"].elements.filter { $0["type"].text == kind && !$0["value"].isEmpty }
            findings.unique(addresses.map { ($0["value"], $0["value"].text) })
            if let rule { for address in addresses { findings.check(address["value"], rule) } }
        }
        checkListeners(spec["listeners"], &findings)
        let ports = spec["tls"]["frontend"]["perPort"].elements
        findings.unique(ports.map { ($0["port"], String($0["port"].int ?? 0)) })
        for port in ports { findings.port(port["port"]) }
    }

    static func checkListenerSet(_ object: Field, _ findings: inout Findings) {
        findings.require(object["spec"]["parentRef"]["name"])
        checkListeners(object["spec"]["listeners"], &findings)
    }

    private static func checkListeners(_ listeners: Field, _ findings: inout Findings) {
        guard findings.require(listeners, "at least one listener is required") else { return }
        findings.atMost(listenerLimit, listeners)
        findings.unique(listeners.elements.map { ($0["name"], $0["name"].text) })
        findings.unique(
            listeners.elements.map { ($0, "\($0["port"].int ?? 0) \($0["protocol"].text) \($0["hostname"].text)") },
            "port, protocol and hostname together must be unique among the listeners")
        for listener in listeners.elements {
            findings.require(listener["name"], Names.dns1123Subdomain)
            findings.require(listener["protocol"])
            findings.port(listener["port"])
            findings.check(listener["hostname"], hostname)
            checkListenerTLS(listener, &findings)
            let allowed = listener["allowedRoutes"]
            findings.oneOf(allowed["namespaces"]["from"], ["All", "None", "Same", "Selector"])
            SelectorRules.check(allowed["namespaces"]["selector"], &findings)
            findings.atMost(8, allowed["kinds"])
        }
    }

    private static func checkListenerTLS(_ listener: Field, _ findings: inout Findings) {
        let (proto, tls) = (listener["protocol"].text, listener["tls"])
        findings.oneOf(tls["mode"], ["Passthrough", "Terminate"])
        findings.atMost(certificateLimit, tls["certificateRefs"])
        switch proto {
        case "HTTP", "TCP", "UDP":
            if tls.exists { findings.add(.forbidden(tls.path, "may not be set for protocol \(proto)")) }
        case "HTTPS" where tls["mode"].text == "Passthrough":
            findings.add(tls["mode"].invalid("must be Terminate for protocol HTTPS"))
        case "TLS" where tls["mode"].isEmpty:
            findings.add(.required(tls["mode"].path, "must be set for protocol TLS"))
        default: break
        }
        if proto == "TCP" || proto == "UDP", !listener["hostname"].isEmpty {
            findings.add(.forbidden(listener["hostname"].path, "may not be set for protocol \(proto)"))
        }
        if tls["mode"].text == "Terminate", tls["certificateRefs"].isEmpty, tls["options"].isEmpty {
            findings.add(
                .required(tls["certificateRefs"].path, "certificateRefs or options must be set in mode Terminate"))
        }
    }

    static func checkReferenceGrant(_ object: Field, _ findings: inout Findings) {
        for side in ["from", "to"] {
            let references = object["spec"][side]
            findings.require(references)
            findings.atMost(referenceLimit, references)
            for reference in references.elements {
                findings.require(reference["kind"])
                if side == "from" { findings.require(reference["namespace"], Names.dns1123Label) }
            }
        }
    }

    static func checkBackendTLSPolicy(_ object: Field, _ findings: inout Findings) {
        let spec = object["spec"]
        findings.require(spec["targetRefs"])
        findings.atMost(referenceLimit, spec["targetRefs"])
        findings.unique(
            spec["targetRefs"].elements.map {
                ($0, "\($0["group"].text) \($0["kind"].text) \($0["name"].text) \($0["sectionName"].text)")
            }, "the same target and section may be named once")
        let validation = spec["validation"]
        findings.require(validation["hostname"], Names.dns1123Subdomain)
        switch (validation["caCertificateRefs"].isEmpty, validation["wellKnownCACertificates"].isEmpty) {
        case (true, true):
            findings.add(
                .required(
                    validation["caCertificateRefs"].path,
                    "caCertificateRefs or wellKnownCACertificates must be set"))
        case (false, false):
            findings.add(
                .forbidden(
                    validation["wellKnownCACertificates"].path, "may not be set together with caCertificateRefs"))
        default: break
        }
        findings.atMost(8, validation["caCertificateRefs"])
        findings.atMost(5, validation["subjectAltNames"])
        for name in validation["subjectAltNames"].elements {
            findings.oneOf(name["type"], ["Hostname", "URI"], required: true)
            findings.member("hostname", of: name, with: "Hostname")
            findings.member("uri", of: name, with: "URI")
            findings.check(name["hostname"], hostname)
        }
    }

    /// The name of an API group; "" is core.
    static func group(_ name: String) -> [String] { name.isEmpty ? [] : Names.dns1123Subdomain(name) }

    /// A kind: letters, digits and dashes, a letter first.
    static func kind(_ name: String) -> [String] { Names.dns1035Label(name.lowercased()) }

    /// A DNS name whose first label may be `*`.
    static func hostname(_ name: String) -> [String] {
        Names.dns1123Subdomain(name.hasPrefix("*.") ? String(name.dropFirst(2)) : name)
    }
}

extension Findings {
    mutating func atMost(_ limit: Int, _ list: Field) {
        let count = list.elements.count
        if count > limit { add(.tooMany(list.path, count: count, limit: limit)) }
    }

    /// Refuses every field whose key was there before.
    mutating func unique(_ keys: [(field: Field, key: String)], _ detail: String? = nil) {
        var seen: Set<String> = []
        for (field, key) in keys where !seen.insert(key).inserted {
            add(detail.map(field.invalid) ?? .duplicate(field.path, field.value ?? .null))
        }
    }

    /// Of a union told apart by `type`: the member must be there with its type, and may not be with another.
    mutating func member(_ name: String, of union: Field, with type: String) {
        let member = union[name]
        if union["type"].text == type {
            if !member.exists { add(.required(member.path, "must be set when type is \(type)")) }
        } else if member.exists {
            add(.forbidden(member.path, "may only be set when type is \(type)"))
        }
    }
}
