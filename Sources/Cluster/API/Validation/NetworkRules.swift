import Bytes
import JSON

/// What holds for the kinds of networking.k8s.io.
enum NetworkRules {
    private static let mustBeCIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

    static func checkPolicy(_ policy: Field, _ findings: inout Findings) {
        let spec = policy["spec"]
        SelectorRules.check(spec["podSelector"], &findings)
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec[direction].elements {
                for port in rule["ports"].elements { checkPolicyPort(port, &findings) }
                for peer in rule[peers].elements { checkPeer(peer, &findings) }
            }
        }
        if spec["policyTypes"].elements.count > 2 {
            findings.add(spec["policyTypes"].invalid("may not specify more than two policyTypes"))
        }
        for type in spec["policyTypes"].elements { findings.oneOf(type, ["Egress", "Ingress"]) }
    }

    static func checkIngress(_ ingress: Field, _ findings: inout Findings) {
        let spec = ingress["spec"]
        if spec["rules"].isEmpty, spec["defaultBackend"].isEmpty {
            findings.add(spec.invalid("either `defaultBackend` or `rules` must be specified"))
        }
        if spec["defaultBackend"].exists { checkBackend(spec["defaultBackend"], &findings) }
        for rule in spec["rules"].elements {
            if !rule["host"].isEmpty {
                let host = rule["host"].text
                for problem in Names.dns1123Subdomain(host.hasPrefix("*.") ? String(host.dropFirst(2)) : host) {
                    findings.add(rule["host"].invalid(problem))
                }
            }
            guard rule["http"].exists else { continue }
            findings.require(rule["http"]["paths"])
            for path in rule["http"]["paths"].elements {
                findings.oneOf(path["pathType"], ["Exact", "ImplementationSpecific", "Prefix"], required: true)
                if path["pathType"].text != "ImplementationSpecific", !path["path"].text.hasPrefix("/") {
                    findings.add(.invalid(path["path"].path, .string(path["path"].text), "must be an absolute path"))
                }
                checkBackend(path["backend"], &findings)
            }
        }
    }

    static func checkIngressClassUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["spec"]["controller"], old["spec"]["controller"])
    }

    static func checkServiceCIDR(_ object: Field, _ findings: inout Findings) {
        let ranges = object["spec"]["cidrs"]
        if ranges.isEmpty { findings.add(.required(ranges.path, "at least one CIDR required")) }
        if ranges.elements.count > 2 { findings.add(ranges.invalid("may only hold up to 2 values")) }
        for range in ranges.elements where CIDR(range.text) == nil { findings.add(range.invalid(mustBeCIDR)) }
    }

    static func checkServiceCIDRUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["spec"]["cidrs"], old["spec"]["cidrs"])
    }

    /// The name of an IPAddress is the address, in the one form that each address has.
    static func canonicalAddress(_ name: String) -> [String] {
        guard let address = IPAddress(name) else {
            return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
        }
        return address.description == name ? [] : ["must be a canonical format IP address"]
    }

    private static func checkPolicyPort(_ port: Field, _ findings: inout Findings) {
        findings.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"])
        if port["port"].exists { findings.portOrName(port["port"]) }
        guard let end = port["endPort"].int else { return }
        if !port["port"].exists {
            findings.add(port["endPort"].invalid("may not be specified when `port` is not specified"))
        } else if let start = port["port"].int {
            if end < start {
                findings.add(port["endPort"].invalid("must be greater than or equal to `port`"))
            } else {
                findings.port(port["endPort"])
            }
        } else {
            findings.add(port["endPort"].invalid("may not be specified when `port` is non-numeric"))
        }
    }

    private static func checkPeer(_ peer: Field, _ findings: inout Findings) {
        let block = peer["ipBlock"]
        let selects = peer["podSelector"].exists || peer["namespaceSelector"].exists
        if !selects, !block.exists { findings.add(.required(peer.path, "must specify a peer")) }
        if selects, block.exists {
            findings.add(.forbidden(peer.path, "may not specify both ipBlock and another peer"))
        }
        for key in ["podSelector", "namespaceSelector"] { SelectorRules.check(peer[key], &findings) }
        guard block.exists, findings.require(block["cidr"]) else { return }
        guard let range = CIDR(block["cidr"].text) else {
            findings.add(block["cidr"].invalid(mustBeCIDR))
            return
        }
        for except in block["except"].elements {
            guard let inner = CIDR(except.text) else {
                findings.add(except.invalid(mustBeCIDR))
                continue
            }
            if !range.contains(inner.address) || inner.prefixLength <= range.prefixLength {
                findings.add(except.invalid("must be a strict subset of `cidr`"))
            }
        }
    }

    private static func checkBackend(_ backend: Field, _ findings: inout Findings) {
        let (service, resource) = (backend["service"], backend["resource"])
        if service.exists, resource.exists {
            findings.add(backend.invalid("cannot set both resource and service backends"))
        } else if resource.exists {
            findings.require(resource["name"])
            findings.require(resource["kind"])
        } else if service.exists {
            findings.require(service["name"], Names.dns1123Label)
            let port = service["port"]
            if port["name"].isEmpty, (port["number"].int ?? 0) == 0 {
                findings.add(.required(port.path, "port name or number is required"))
            } else if !port["name"].isEmpty, port["number"].exists {
                findings.add(port.invalid("cannot set both port name & port number"))
            } else {
                findings.port(port["number"])
            }
        } else {
            findings.add(.required(backend.path, "resource or service backend is required"))
        }
    }
}
