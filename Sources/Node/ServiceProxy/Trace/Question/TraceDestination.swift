import Bytes
import ClusterAPI

/// Where a traced packet goes, from the words of a question.
struct TraceDestination {
    /// nil for a node port, whose address is the node's.
    private(set) var address: IPAddress?
    private(set) var transport = Transport.tcp
    private(set) var port: Port = 0
    private var service: ObjectKey?

    private typealias Unclear = TraceQuestion.Unclear

    init(_ question: TraceQuestion, _ cluster: TraceCluster) throws(TraceQuestion.Unclear) {
        let text = question.destination
        if let number = Port(text.hasPrefix(":") ? String(text.dropFirst()) : text), number != 0 {
            port = number
            try takeNodePort(question, cluster)
        } else if let endpoint = IPEndpoint(text) {
            (address, port) = (endpoint.address, endpoint.port)
            transport = question.transport ?? known(endpoint.address, endpoint.port, cluster) ?? .tcp
        } else if let address = IPAddress(text) {
            self.address = address
            try takeOnlyPort(at: address, question, cluster)
        } else {
            try takeService(question, cluster)
        }
    }

    /// `shop/cart (10.96.0.10:80)`.
    func text(at address: IPAddress) -> String {
        let endpoint = "\(IPEndpoint(address, port))"
        return service.map { "\($0) (\(endpoint))" } ?? endpoint
    }

    // MARK: Node ports

    private mutating func takeNodePort(_ question: TraceQuestion, _ cluster: TraceCluster)
        throws(TraceQuestion.Unclear)
    {
        let number = port
        let found = cluster.services.compactMap { ServiceSpec($0) }.flatMap { spec in
            spec.ports.filter { $0.nodePort == number }.map(\.transport)
        }
        if let asked = question.transport {
            transport = asked
        } else if Set(found).count > 1 {
            throw Unclear(description: "node port \(port) is there for several protocols: say --protocol")
        } else {
            transport = found.first ?? .tcp
        }
    }

    // MARK: Addresses

    /// The protocol of the Service that has this address and port.
    private func known(_ address: IPAddress, _ port: Port, _ cluster: TraceCluster) -> Transport? {
        ports(at: address, cluster).first { $0.port == port || $0.nodePort == port }?.transport
    }

    private func ports(at address: IPAddress, _ cluster: TraceCluster) -> [ServiceSpec.Port] {
        let specs = cluster.services.compactMap { ServiceSpec($0) }
        let named = specs.filter { ($0.clusterIPs + $0.externalIPs + $0.ingressIPs).contains(address) }
        return (named.isEmpty ? specs : named).flatMap(\.ports)
    }

    private mutating func takeOnlyPort(
        at address: IPAddress, _ question: TraceQuestion, _ cluster: TraceCluster
    ) throws(TraceQuestion.Unclear) {
        let specs = cluster.services.compactMap { ServiceSpec($0) }
            .filter { ($0.clusterIPs + $0.externalIPs + $0.ingressIPs).contains(address) }
        try take(specs.flatMap(\.ports), "", question, of: "\(address)")
    }

    // MARK: Services

    private mutating func takeService(_ question: TraceQuestion, _ cluster: TraceCluster)
        throws(TraceQuestion.Unclear)
    {
        let parts = question.destination.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let names = (parts.first ?? "").split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard names.allSatisfy({ !$0.isEmpty }), (1...2).contains(names.count) else {
            throw Unclear(
                description: "\"\(question.destination)\" is no destination: expected namespace/service[:port], "
                    + "address[:port] or a node port")
        }
        let key = ObjectKey(namespace: names.count == 2 ? names[0] : question.namespace, name: names[names.count - 1])
        guard let object = cluster.service(key) else { throw Unclear(description: "there is no Service \(key)") }
        guard let spec = ServiceSpec(object) else {
            throw Unclear(description: "Service \(key) \(Self.whyNotOurs(object))")
        }
        let family: IPAddress.Family? = if case .address(let source) = question.source { source.family } else { nil }
        guard let address = spec.clusterIPs.first(where: { family == nil || $0.family == family }) else {
            throw Unclear(description: "Service \(key) has no cluster IP of the source's family")
        }
        self.address = address
        service = key
        try take(spec.ports, parts.count == 2 ? String(parts[1]) : "", question, of: "Service \(key)")
    }

    private static func whyNotOurs(_ object: KubeObject) -> String {
        if object.spec["type"]?.string == "ExternalName" {
            return "is an ExternalName: DNS answers with another name, and no packet is translated"
        }
        if object.label(ServiceSpec.otherProxyLabel) != nil {
            return "is another proxy's, by its label \(ServiceSpec.otherProxyLabel)"
        }
        return "is headless: DNS answers with the endpoints' addresses, and no packet is translated"
    }

    /// The port with this name or number, or the only one.
    private mutating func take(
        _ ports: [ServiceSpec.Port], _ text: String, _ question: TraceQuestion, of what: String
    ) throws(TraceQuestion.Unclear) {
        let ports = ports.filter { question.transport == nil || $0.transport == question.transport }
        let number = Port(text)
        let found = ports.filter { text.isEmpty || $0.name == text || $0.port == number }
        if let number, found.isEmpty {
            // A port that it does not have is a question, too.
            (port, transport) = (number, question.transport ?? .tcp)
            return
        }
        guard found.count == 1, let only = found.first else {
            let list = ports.map { $0.name.isEmpty ? "\($0.port)" : "\($0.name) (\($0.port)/\($0.transport))" }
            let all = list.isEmpty ? "it has none" : "it has \(list.joined(separator: ", "))"
            throw Unclear(description: "which port of \(what)? \(all)")
        }
        (port, transport) = (only.port, only.transport)
    }
}
