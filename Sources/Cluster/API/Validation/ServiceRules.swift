import Bytes
import JSON

/// What holds for Services.
enum ServiceRules {
    private static let types = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]
    private static let mustBeAddress = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

    static func check(_ service: Field, _ findings: inout Findings) {
        let spec = service["spec"]
        let type = spec["type"].text
        let headless = spec["clusterIP"].text == "None"
        if spec["ports"].isEmpty, !headless, type != "ExternalName" { findings.add(.required(spec["ports"].path)) }
        switch type {
        case "LoadBalancer" where headless, "NodePort" where headless:
            findings.add(
                .invalid(spec["clusterIPs"].path.index(0), "None", "may not be set to 'None' for \(type) services"))
        case "ExternalName":
            if !spec["clusterIP"].isEmpty {
                findings.add(.forbidden(spec["clusterIPs"].path, "may not be set for ExternalName services"))
            }
            findings.require(spec["externalName"]) { name in
                Names.dns1123Subdomain(name.hasSuffix(".") ? String(name.dropLast()) : name)
            }
        default: break
        }
        checkPorts(spec, headless: headless, &findings)
        MetadataRules.checkLabels(spec["selector"], &findings)
        findings.oneOf(spec["sessionAffinity"], ["ClientIP", "None"], required: true)
        checkAffinity(spec, &findings)
        findings.oneOf(spec["type"], types, required: true)
        checkAddresses(spec, &findings)
        checkPolicies(spec, &findings)
    }

    static func checkUpdate(_ new: Field, _ old: Field, _ findings: inout Findings) {
        let (after, before) = (new["spec"], old["spec"])
        // An ExternalName service holds no address, so there is nothing to keep on either side of that change.
        guard before["type"].text != "ExternalName", after["type"].text != "ExternalName" else { return }
        if !before["clusterIP"].isEmpty, after["clusterIP"].text != before["clusterIP"].text {
            let path = after["clusterIPs"].path.index(0)
            findings.add(.invalid(path, .string(after["clusterIP"].text), "may not change once set"))
        }
        if let first = before["ipFamilies"].elements.first, let now = after["ipFamilies"].elements.first,
            first.text != now.text
        {
            findings.add(.invalid(now.path, .string(now.text), "may not change once set"))
        }
        if (before["healthCheckNodePort"].int ?? 0) != 0, after["externalTrafficPolicy"].text == "Local",
            after["type"].text == "LoadBalancer"
        {
            findings.immutable(after["healthCheckNodePort"], before["healthCheckNodePort"])
        }
        if before["type"].text == "LoadBalancer", after["type"].text == "LoadBalancer",
            before["loadBalancerClass"].exists
        {
            findings.immutable(after["loadBalancerClass"], before["loadBalancerClass"], "may not change once set")
        }
    }

    private static func checkPorts(_ spec: Field, headless: Bool, _ findings: inout Findings) {
        let ports = spec["ports"].elements
        var (names, numbers, nodePorts) = (Set<String>(), Set<String>(), Set<String>())
        for port in ports {
            let name = port["name"]
            if name.isEmpty {
                if ports.count > 1 { findings.add(.required(name.path)) }
            } else {
                findings.check(name, Names.dns1123Label)
                if !names.insert(name.text).inserted { findings.add(.duplicate(name.path, .string(name.text))) }
            }
            let number = port["port"].int ?? 0
            if !port["port"].exists {
                findings.add(.invalid(port["port"].path, .int(0), "must be between 1 and 65535, inclusive"))
            } else {
                findings.port(port["port"])
            }
            findings.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], required: true)
            if port["targetPort"].exists { findings.portOrName(port["targetPort"]) }
            let transport = port["protocol"].text
            if !numbers.insert("\(transport)/\(number)").inserted {
                findings.add(
                    .duplicate(port.path, ["port": .int(number), "protocol": .string(transport)]))
            }
            let node = port["nodePort"].int ?? 0
            guard node != 0 else { continue }
            if spec["type"].text == "ClusterIP" {
                findings.add(.forbidden(port["nodePort"].path, "may not be used when `type` is 'ClusterIP'"))
            } else if !nodePorts.insert("\(transport)/\(node)").inserted {
                findings.add(.duplicate(port["nodePort"].path, .int(node)))
            }
        }
    }

    private static func checkAffinity(_ spec: Field, _ findings: inout Findings) {
        let timeout = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
        switch spec["sessionAffinity"].text {
        case "ClientIP":
            if let seconds = timeout.int, !(1...86400).contains(seconds) {
                findings.add(timeout.invalid("must be greater than 0 and less than 86400"))
            }
        case "None":
            if spec["sessionAffinityConfig"].exists {
                findings.add(
                    .forbidden(spec["sessionAffinityConfig"].path, "must not be set when session affinity is None"))
            }
        default: break
        }
    }

    private static func checkAddresses(_ spec: Field, _ findings: inout Findings) {
        for address in spec["externalIPs"].elements {
            guard let parsed = IPAddress(address.text) else {
                findings.add(address.invalid(mustBeAddress))
                continue
            }
            if parsed.isUnspecified {
                findings.add(address.invalid("may not be unspecified (\(address.text))"))
            }
        }
        let addresses = spec["clusterIPs"].elements
        for address in addresses where address.text != "None" && !address.isEmpty && IPAddress(address.text) == nil {
            findings.add(address.invalid(mustBeAddress))
        }
        let first = spec["clusterIP"]
        if addresses.isEmpty {
            if !first.isEmpty, first.text != "None", IPAddress(first.text) == nil {
                findings.add(.invalid(spec["clusterIPs"].path.index(0), .string(first.text), mustBeAddress))
            }
        } else if !first.isEmpty, addresses[0].text != first.text {
            findings.add(addresses[0].invalid("must match `clusterIP`"))
        }
        if addresses.count > 2 {
            findings.add(spec["clusterIPs"].invalid("may only hold up to 2 values"))
        }
        for family in spec["ipFamilies"].elements { findings.oneOf(family, ["IPv4", "IPv6"]) }
        if !spec["ipFamilyPolicy"].isEmpty {
            findings.oneOf(spec["ipFamilyPolicy"], ["SingleStack", "PreferDualStack", "RequireDualStack"])
        }
        for range in spec["loadBalancerSourceRanges"].elements where CIDR(range.text) == nil {
            findings.add(range.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        }
    }

    private static func checkPolicies(_ spec: Field, _ findings: inout Findings) {
        let type = spec["type"].text
        let external = spec["externalTrafficPolicy"]
        let reachable = type == "NodePort" || type == "LoadBalancer" || !spec["externalIPs"].isEmpty
        if !external.isEmpty {
            if reachable {
                findings.oneOf(external, ["Cluster", "Local"])
            } else {
                findings.add(external.invalid("may only be set for externally-accessible services"))
            }
        }
        if !spec["internalTrafficPolicy"].isEmpty {
            findings.oneOf(spec["internalTrafficPolicy"], ["Cluster", "Local"])
        }
        if !spec["trafficDistribution"].isEmpty {
            findings.oneOf(spec["trafficDistribution"], ["PreferClose", "PreferSameZone", "PreferSameNode"])
        }
        if type != "LoadBalancer" {
            for key in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] where spec[key].exists {
                findings.add(.forbidden(spec[key].path, "may only be used when `type` is 'LoadBalancer'"))
            }
        }
        if (spec["healthCheckNodePort"].int ?? 0) != 0, type != "LoadBalancer" || external.text != "Local" {
            findings.add(
                spec["healthCheckNodePort"].invalid(
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
        }
    }
}
