import Bytes
import ClusterAPI
import DNSMessage

/// Every name that one Service brings to the zone, by the Kubernetes DNS specification 1.1.0. Pure.
///
/// - Returns: for each name what the Service contributes to it.
func serviceRecords(
    _ service: ServiceEntry, _ slices: [SliceEntry], _ options: ClusterZoneOptions
) -> [DNSName: ZoneNode.Content] {
    guard let zone = options.primary,
        let namespace = zone.prefixed(by: service.key.namespace, "svc"),
        let name = namespace.prefixed(by: service.key.name)
    else { return [:] }
    var builder = ServiceRecordsBuilder(service: service, name: name, zone: zone, options: options)
    if let target = service.externalName {
        builder.addAlias(target)
    } else if service.isHeadless {
        builder.addEndpoints(slices, isHeadless: true)
    } else {
        let hasReady = slices.contains { $0.endpoints.contains(where: \.isReady) }
        guard hasReady || !options.ignoresEmptyServices else { return [:] }
        builder.addAddresses()
        builder.addEndpoints(slices, isHeadless: false)
    }
    return builder.contents
}

private struct ServiceRecordsBuilder {
    let service: ServiceEntry
    let name: DNSName
    let zone: DNSName
    let options: ClusterZoneOptions
    var contents: [DNSName: ZoneNode.Content] = [:]

    private var ttl: UInt32 { options.ttl }

    mutating func addAlias(_ target: DNSName) {
        contents[name, default: .empty].alias = target
    }

    /// The Service's own addresses, their reverse names, and its ports.
    mutating func addAddresses() {
        for address in service.addresses {
            contents[name, default: .empty].add(address, ttl: ttl)
            addReverse(address, name)
        }
        for port in service.ports {
            addService(port, target: name, addresses: service.addresses, share: service.ports.count)
        }
    }

    /// A name for each endpoint; for a headless Service also all of them under its own name.
    mutating func addEndpoints(_ slices: [SliceEntry], isHeadless: Bool) {
        var seen: Set<IPAddress> = []
        let ready = slices.flatMap { slice in
            slice.endpoints.filter { $0.isReady && !$0.addresses.isEmpty }.map { (endpoint: $0, ports: slice.ports) }
        }
        for (endpoint, ports) in ready {
            guard let label = label(of: endpoint), let endpointName = name.prefixed(by: label) else { continue }
            for address in endpoint.addresses where seen.insert(address).inserted {
                contents[endpointName, default: .empty].add(address, ttl: ttl)
                guard isHeadless else { continue }
                contents[name, default: .empty].add(address, ttl: ttl)
                if endpoint.hostname != nil { addReverse(address, endpointName) }
            }
            guard isHeadless else { continue }
            for port in ports {
                addService(port, target: endpointName, addresses: endpoint.addresses, share: ready.count)
            }
        }
    }

    /// Its hostname, else its pod's name if asked for, else its address with dashes.
    private func label(of endpoint: SliceEntry.Endpoint) -> String? {
        if let hostname = endpoint.hostname, !hostname.isEmpty { return hostname }
        if options.namesEndpointsByPod, let pod = endpoint.pod, pod.utf8.count <= DNSName.labelLimit { return pod }
        return endpoint.addresses.first.map(dashed)
    }

    private mutating func addReverse(_ address: IPAddress, _ target: DNSName) {
        let reverse = DNSName(reverse: address)
        guard options.zones.contains(where: reverse.isIn) else { return }
        contents[reverse, default: .empty].records[.ptr, default: .init()].answers.append(
            .ptr, ttl: ttl, data: target.wire)
    }

    /// SRV under the port's own name, when it has one, and under the Service's name.
    private mutating func addService(_ port: ServiceEntry.Port, target: DNSName, addresses: [IPAddress], share: Int) {
        var set = ZoneNode.Content.Set()
        // Weights of one priority are shared out of a hundred, as CoreDNS does.
        set.answers.append(service: target, port: port.number, weight: UInt16(max(1, 100 / max(1, share))), ttl: ttl)
        for address in addresses { set.additionals.append(address, ttl: ttl, owner: target) }
        var owners = [name]
        if !port.name.isEmpty, let owner = name.prefixed(by: "_\(port.name)", "_\(port.transport)") {
            owners.append(owner)
        }
        for owner in owners {
            contents[owner, default: .empty].records[.srv, default: .init()].answers.append(set.answers)
            let additionals = contents[owner]?.records[.srv]?.additionals ?? .none
            // One Service's ports have the same target: its addresses are said once.
            if !additionals.contains(set.additionals) {
                contents[owner, default: .empty].records[.srv, default: .init()].additionals.append(set.additionals)
            }
        }
    }
}

/// An address as a label: `10-0-0-7`, `fd00--1`; a dash at the end gets a zero, because labels do not end in dashes.
func dashed(_ address: IPAddress) -> String {
    var text = String(address.description.map { $0 == "." || $0 == ":" ? "-" : $0 })
    if text.hasSuffix("-") { text += "0" }
    if text.hasPrefix("-") { text = "0" + text }
    return text
}

/// The address that a pod's name stands for; nil when it stands for none.
func address(dashed label: String) -> IPAddress? {
    if let v4 = IPAddress(String(label.map { $0 == "-" ? "." : $0 })), v4.family == .v4 { return v4 }
    return IPAddress(String(label.map { $0 == "-" ? ":" : $0 }))
}

extension EncodedRecords {
    func contains(_ other: EncodedRecords) -> Bool {
        guard !other.isEmpty, bytes.count >= other.bytes.count else { return other.isEmpty }
        return (0...(bytes.count - other.bytes.count)).contains {
            bytes[$0..<($0 + other.bytes.count)].elementsEqual(other.bytes)
        }
    }
}
