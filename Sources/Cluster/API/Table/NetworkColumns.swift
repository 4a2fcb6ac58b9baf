import JSON

/// Services and what is around them.
extension KindColumns {
    static let network: [String: [TableColumn]] = [
        "/Service": [
            .name, .text("Type", at: "spec", "type"), .text("Cluster-IP", at: "spec", "clusterIP", absent: none),
            .text("External-IP") { externalAddress($0.object) },
            .text("Port(s)") { source in
                let ports = source.object.list("spec", "ports").map { port in
                    let node = port.number("nodePort")
                    let number = node > 0 ? "\(port.number("port")):\(node)" : "\(port.number("port"))"
                    return "\(number)/\(port.text("protocol"))"
                }
                return ports.isEmpty ? none : ports.joined(separator: ",")
            },
            .age, .text("Selector") { labelsText($0.object[path: "spec", "selector"]) }.wide,
        ],
        "/Endpoints": [
            .name,
            .text("Endpoints") { source in
                var shown: [String] = []
                for subset in source.object.list("subsets") {
                    let addresses = subset.list("addresses").map { $0.text("ip") }
                    let ports = subset.list("ports").map { $0.number("port") }
                    if ports.isEmpty { shown += addresses }
                    for port in ports { shown += addresses.map { hostPort($0, port) } }
                }
                return firstFew(shown)
            },
            .age,
        ],
        "discovery.k8s.io/EndpointSlice": [
            .name, .text("AddressType", at: "addressType"),
            .text("Ports") { source in
                firstFew(source.object.list("ports").map { $0["port"]?.plainText ?? "*" }, absent: "<unset>")
            },
            .text("Endpoints") { source in
                firstFew(
                    source.object.list("endpoints").flatMap { $0.list("addresses").compactMap(\.string) },
                    absent: "<unset>")
            },
            .age,
        ],
        "networking.k8s.io/Ingress": [
            .name, .text("Class", at: "spec", "ingressClassName", absent: none),
            .text("Hosts") { source in
                let hosts = source.object.list("spec", "rules").map { $0.text("host") }.filter { !$0.isEmpty }
                return firstFew(hosts, absent: "*")
            },
            .text("Address") { loadBalancerAddresses($0.object).joined(separator: ",") },
            .text("Ports") { $0.object.list("spec", "tls").isEmpty ? "80" : "80, 443" }, .age,
        ],
        "networking.k8s.io/IngressClass": [
            .name, .text("Controller", at: "spec", "controller"),
            .text("Parameters") { source in
                guard let parameters = source.object[path: "spec", "parameters"] else { return none }
                let group = parameters.text("apiGroup")
                return "\(parameters.text("kind"))\(group.isEmpty ? "" : "." + group)/\(parameters.text("name"))"
            },
            .age,
        ],
        "networking.k8s.io/NetworkPolicy": [
            .name, .text("Pod-Selector") { labelSelectorText($0.object[path: "spec", "podSelector"]) }, .age,
        ],
        "networking.k8s.io/ServiceCIDR": [
            .name,
            .text("CIDRs") { $0.object.list("spec", "cidrs").compactMap(\.string).joined(separator: ",") }, .age,
        ],
        "networking.k8s.io/IPAddress": [
            .name,
            .text("ParentRef") { source in
                let parent = source.object[path: "spec", "parentRef"] ?? .null
                let resource = GroupVersionResource(group: parent.text("group"), resource: parent.text("resource"))
                return [resource.groupResource, parent.text("namespace"), parent.text("name")]
                    .filter { !$0.isEmpty }.joined(separator: "/")
            },
        ],
    ]

    private static func externalAddress(_ service: JSONValue) -> String {
        let external = service.list("spec", "externalIPs").compactMap(\.string)
        switch service.text("spec", "type") {
        case "ExternalName": return service.text("spec", "externalName")
        case "LoadBalancer":
            let all = loadBalancerAddresses(service) + external
            return all.isEmpty ? "<pending>" : all.joined(separator: ",")
        default: return external.isEmpty ? none : external.joined(separator: ",")
        }
    }

    private static func loadBalancerAddresses(_ object: JSONValue) -> [String] {
        object.list("status", "loadBalancer", "ingress").map {
            $0.text("ip").isEmpty ? $0.text("hostname") : $0.text("ip")
        }
        .filter { !$0.isEmpty }
    }

    private static func hostPort(_ host: String, _ port: Int64) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
