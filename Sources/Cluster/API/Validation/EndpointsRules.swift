import Bytes
import JSON

/// What holds for EndpointSlices and Endpoints.
enum EndpointsRules {
    static let endpointLimit = 1000
    static let addressLimit = 100
    static let portLimit = 20000
    private static let mustBeAddress = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

    static func checkSlice(_ slice: Field, _ findings: inout Findings) {
        let type = slice["addressType"]
        findings.oneOf(type, ["FQDN", "IPv4", "IPv6"], required: true)
        let endpoints = slice["endpoints"].elements
        if endpoints.count > endpointLimit {
            findings.add(.tooMany(slice["endpoints"].path, count: endpoints.count, limit: endpointLimit))
        }
        for endpoint in endpoints { checkEndpoint(endpoint, type: type.text, &findings) }
        checkPorts(slice["ports"], &findings)
    }

    static func checkSliceUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        findings.immutable(new["addressType"], old["addressType"])
    }

    static func check(_ endpoints: Field, _ findings: inout Findings) {
        for subset in endpoints["subsets"].elements {
            let all = subset["addresses"].elements + subset["notReadyAddresses"].elements
            if all.isEmpty { findings.add(.required(subset.path, "must specify `addresses` or `notReadyAddresses`")) }
            for address in all { checkAddress(address["ip"], &findings) }
            for port in subset["ports"].elements {
                if subset["ports"].elements.count > 1 { findings.require(port["name"]) }
                if !port["name"].isEmpty { findings.check(port["name"], Names.dns1123Label) }
                findings.port(port["port"])
                findings.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], required: true)
            }
        }
    }

    private static func checkEndpoint(_ endpoint: Field, type: String, _ findings: inout Findings) {
        let addresses = endpoint["addresses"]
        if addresses.isEmpty {
            findings.add(.required(addresses.path, "must contain at least 1 address"))
        } else if addresses.elements.count > addressLimit {
            findings.add(.tooMany(addresses.path, count: addresses.elements.count, limit: addressLimit))
        }
        for address in addresses.elements {
            switch type {
            case "FQDN": findings.check(address, Names.dns1123Subdomain)
            case "IPv4", "IPv6":
                checkAddress(address, &findings)
                if let parsed = IPAddress(address.text), (parsed.family == .v4) != (type == "IPv4") {
                    findings.add(address.invalid("must be an \(type) address"))
                }
            default: break
            }
        }
        if !endpoint["hostname"].isEmpty { findings.check(endpoint["hostname"], Names.dns1123Label) }
        if !endpoint["nodeName"].isEmpty { findings.check(endpoint["nodeName"], Names.dns1123Subdomain) }
    }

    private static func checkPorts(_ ports: Field, _ findings: inout Findings) {
        if ports.elements.count > portLimit {
            findings.add(.tooMany(ports.path, count: ports.elements.count, limit: portLimit))
        }
        var names = Set<String>()
        for port in ports.elements {
            if !port["name"].isEmpty { findings.check(port["name"], Names.dns1123Label) }
            if !names.insert(port["name"].text).inserted {
                findings.add(.duplicate(port["name"].path, .string(port["name"].text)))
            }
            findings.port(port["port"])
            findings.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], required: true)
        }
    }

    /// An endpoint may be anything but what would turn traffic back on the node itself.
    private static func checkAddress(_ field: Field, _ findings: inout Findings) {
        guard let address = IPAddress(field.text) else {
            findings.add(field.invalid(mustBeAddress))
            return
        }
        if address.isUnspecified {
            findings.add(field.invalid("may not be unspecified (\(field.text))"))
        } else if address.isLoopback {
            findings.add(field.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)"))
        } else if address.isLinkLocal {
            findings.add(field.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
        } else if address.isMulticast {
            findings.add(field.invalid("may not be in the multicast range (224.0.0.0/4, ff00::/8)"))
        }
    }
}
