public import Bytes
public import ClusterAPI

import JSON

/// The objects that questions about policies are answered from, as the API has them. Pure.
public struct PolicyCluster: Sendable {
    public typealias Party = PolicyEvaluator.Party
    public typealias Traffic = PolicyEvaluator.Traffic

    /// By name.
    public let policies: [NetworkPolicySpec]
    /// Those that policies are about, by name.
    public let pods: [PolicyPod]
    public let namespaces: [String: [String: String]]
    private let services: [KubeObject]
    private let nodes: [(name: String, addresses: [IPAddress])]
    private let ports: [ObjectKey: [PolicyPod.NamedPort]]
    private let podByAddress: [IPAddress: Int]
    /// Pods that live on a node's network.
    private let hostPods: [ObjectKey: String]

    public init(
        policies: [KubeObject], namespaces: [KubeObject], pods: [KubeObject], nodes: [KubeObject],
        services: [KubeObject]
    ) {
        self.policies = policies.map { NetworkPolicySpec($0) }.sorted { $0.key < $1.key }
        self.namespaces = Dictionary(namespaces.map { ($0.name, $0.labels) }) { first, _ in first }
        self.services = services
        self.pods = pods.compactMap { PolicyPod($0) }.sorted { $0.key < $1.key }
        self.nodes = nodes.map { node in
            let addresses = node.status["addresses"]?.array ?? []
            return (node.name, addresses.compactMap { $0["address"]?.string.flatMap { IPAddress($0) } })
        }
        ports = Dictionary(pods.map { ($0.key, PolicyPod.containerPorts($0)) }) { first, _ in first }
        var byAddress: [IPAddress: Int] = [:]
        for (index, pod) in self.pods.enumerated() { for address in pod.addresses { byAddress[address] = index } }
        podByAddress = byAddress
        hostPods = Dictionary(
            pods.filter { $0.spec["hostNetwork"]?.bool == true }.map { ($0.key, $0.spec["nodeName"]?.string ?? "") }
        ) { first, _ in first }
    }

    /// With other policies.
    public func evaluator(_ policies: [NetworkPolicySpec]? = nil) -> PolicyEvaluator {
        PolicyEvaluator(policies: policies ?? self.policies, namespaces: namespaces)
    }

    /// Ports that a pod's containers tell of, with names or without.
    public func ports(of pod: ObjectKey) -> [PolicyPod.NamedPort] { ports[pod] ?? [] }

    /// Who has an address.
    public func party(at address: IPAddress) -> Party {
        if let index = podByAddress[address] { return .pod(pods[index], address) }
        if let node = nodes.first(where: { $0.addresses.contains(address) }) { return .node(node.name, address) }
        return .address(address)
    }

    public func name(of party: Party) -> String {
        switch party {
        case .pod(let pod, _): "\(pod.key)"
        case .node(let name, _): "node \(name)"
        case .address(let address): "\(address)"
        }
    }

    // MARK: What people write

    /// A question that cannot be put, in the asker's words.
    public struct Unknown: Error, CustomStringConvertible { public var description: String }

    /// `[NAMESPACE/]POD`, `node:NAME` or an address; one party for each of its addresses.
    public func parties(_ text: String, namespace: String) throws(Unknown) -> [Party] {
        if let address = IPAddress(text) { return [party(at: address)] }
        if text.hasPrefix("node:") {
            let name = String(text.dropFirst("node:".count))
            guard let node = nodes.first(where: { $0.name == name }), !node.addresses.isEmpty else {
                throw Unknown(description: "there is no node \(name)")
            }
            return node.addresses.map { .node(name, $0) }
        }
        let key = try Self.key(text, namespace)
        if let found = parties(key) { return found }
        throw Unknown(description: "there is no pod \(key) that has an address")
    }

    private func parties(_ key: ObjectKey) -> [Party]? {
        if let pod = pods.first(where: { $0.key == key }), !pod.addresses.isEmpty {
            return pod.addresses.map { .pod(pod, $0) }
        }
        if let name = hostPods[key], let node = nodes.first(where: { $0.name == name }) {
            return node.addresses.map { .node(name, $0) }
        }
        return nil
    }

    /// `TO:PORT[/PROTOCOL]`, where TO is what `parties` takes or a Service, and PORT a number or a name; or `TO` alone, for a pod with one
    /// port. One entry for each address behind it.
    public func destinations(_ text: String, namespace: String) throws(Unknown) -> [(Party, Traffic)] {
        var (name, port, transport) = Self.split(text)
        if name.hasPrefix("["), name.hasSuffix("]") { name = String(name.dropFirst().dropLast()) }
        if let address = IPAddress(name) {
            if let service = services.first(where: { $0.addresses.contains(name) }) {
                return try destinations(service, port, transport)
            }
            return [try destination(party(at: address), port, transport)]
        }
        if !name.hasPrefix("node:") {
            let key = try Self.key(name, namespace)
            if parties(key) == nil, let service = services.first(where: { $0.key == key }) {
                return try destinations(service, port, transport)
            }
        }
        var found: [(Party, Traffic)] = []
        for party in try parties(name, namespace: namespace) {
            found.append(try destination(party, port, transport))
        }
        return found
    }

    private func destination(_ party: Party, _ port: String?, _ transport: Transport?) throws(Unknown) -> (
        Party, Traffic
    ) {
        let ports: [PolicyPod.NamedPort] = if case .pod(let pod, _) = party { self.ports(of: pod.key) } else { [] }
        if let port {
            if let number = UInt16(port) { return (party, Traffic(transport ?? .tcp, Port(number))) }
            let named = ports.first { $0.name == port && (transport == nil || $0.transport == transport) }
            guard let named else { throw Unknown(description: "\(name(of: party)) has no port named \(port)") }
            return (party, Traffic(named.transport, named.port))
        }
        guard ports.count == 1, let only = ports.first else {
            throw Unknown(description: "which port of \(name(of: party))? TO:PORT says")
        }
        return (party, Traffic(only.transport, only.port))
    }

    /// Policies see the pods behind a Service.
    private func destinations(_ service: KubeObject, _ port: String?, _ transport: Transport?) throws(Unknown) -> [(
        Party, Traffic
    )] {
        let all = service.spec["ports"]?.array ?? []
        let chosen = all.first { one in
            let number = one["port"]?.int.map(String.init)
            let isMeant = port == nil ? all.count == 1 : number == port || one["name"]?.string == port
            return isMeant && (transport == nil || Transport(one["protocol"]?.string ?? "TCP") == transport)
        }
        guard let chosen else {
            let known = all.compactMap { one in
                one["port"]?.int.map { number in "\(number)" + (one["name"]?.string.map { " (\($0))" } ?? "") }
            }.joined(separator: ", ")
            throw Unknown(
                description: (port.map { "Service \(service.key) has no port \($0)" }
                    ?? "which port of Service \(service.key)?")
                    + (known.isEmpty ? "" : "; it has \(known)"))
        }
        guard let selector = service.spec["selector"], selector.object?.isEmpty == false else {
            throw Unknown(description: "Service \(service.key) selects no pods; ask for the addresses behind it")
        }
        let protocolName = Transport(chosen["protocol"]?.string ?? "TCP") ?? .tcp
        let labels = LabelSelector(matchLabels: selector)
        var found: [(Party, Traffic)] = []
        for pod in pods where pod.key.namespace == service.namespace && labels.matches(pod.labels) {
            let target: Port?
            if let name = chosen["targetPort"]?.string {
                target = ports(of: pod.key).first { $0.name == name && $0.transport == protocolName }?.port
            } else {
                let number = chosen["targetPort"]?.int ?? chosen["port"]?.int
                target = number.flatMap { UInt16(exactly: $0) }.map { Port($0) }
            }
            guard let target else { continue }
            for address in pod.addresses { found.append((.pod(pod, address), Traffic(protocolName, target))) }
        }
        guard !found.isEmpty else { throw Unknown(description: "no pod is behind Service \(service.key)") }
        return found
    }

    private static func key(_ text: String, _ namespace: String) throws(Unknown) -> ObjectKey {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw Unknown(description: "\"\(text)\" is not [NAMESPACE/]NAME")
        }
        return parts.count == 2
            ? ObjectKey(namespace: parts[0], name: parts[1]) : ObjectKey(namespace: namespace, name: parts[0])
    }

    /// `shop/cart:80/udp`: a protocol is told from a namespace by being one.
    private static func split(_ text: String) -> (name: String, port: String?, transport: Transport?) {
        var text = text[...]
        var transport: Transport?
        if let slash = text.lastIndex(of: "/"), let told = Transport(text[text.index(after: slash)...].uppercased()) {
            transport = told
            text = text[..<slash]
        }
        // An IPv6 address has colons of its own.
        guard IPAddress(String(text)) == nil, let colon = text.lastIndex(of: ":"), text[..<colon] != "node" else {
            return (String(text), nil, transport)
        }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]), transport)
    }
}

extension KubeObject {
    fileprivate var addresses: [String] {
        (spec["clusterIPs"]?.array ?? []).compactMap(\.string) + [spec["clusterIP"]?.string].compactMap { $0 }
    }
}
