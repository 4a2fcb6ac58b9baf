import Bytes
import ClusterAPI
import JSON

/// Where the way goes: a Service's port, a pod's, or one of an address that is neither's.
struct WhyDestination: Sendable, CustomStringConvertible {
    var service: KubeObject?
    var pod: KubeObject?
    /// A node's, or of somebody outside.
    var address: IPAddress?
    /// As it is asked for: the Service's, or the pod's.
    var port: Int64
    /// Of a Service: the port's entry.
    var portSpec: JSONValue = .null

    var description: String {
        if let address { return address.family == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)" }
        return "\((service ?? pod)?.key ?? ObjectKey(name: "")):\(port)"
    }

    init(_ text: String, namespace: String, fallback: String, services: [KubeObject], pods: [KubeObject]) throws {
        var (name, portText) = Self.split(text)
        if let address = IPAddress(name) {
            // A load balancer's address may be a node's too: there only its ports are the Service's. A pod on the node's network has the
            // node's address, which is not its own.
            if let found = services.first(where: { $0.isCalled(at: name, portText) }) {
                name = "\(found.namespace)/service/\(found.name)"
            } else if let found = pods.first(where: { $0.hasAddress(name) && $0.spec["hostNetwork"]?.bool != true }) {
                name = "\(found.namespace)/pod/\(found.name)"
            } else {
                guard let number = portText.flatMap({ UInt16($0) }) else {
                    throw Refusal("which port of \(name)?", hint: "\(name):PORT says which")
                }
                (self.address, port) = (address, Int64(number))
                return
            }
        }
        // A DNS name of the cluster, as programs write it.
        let parts = name.split(separator: ".")
        if !name.contains("/"), parts.count >= 3, parts[2] == "svc" { name = "\(parts[1])/service/\(parts[0])" }
        let wanted = try WorkloadName(name, namespace: fallback)
        let isService = wanted.kind == nil || wanted.kind == .service
        if isService, let found = services.first(where: { $0.namespace == wanted.namespace && $0.name == wanted.name })
        {
            service = found
            let ports = found.spec.list("ports")
            let chosen =
                portText == nil
                ? (ports.count == 1 ? ports.first : nil)
                : ports.first { $0["port"]?.int == portText.flatMap { Int64($0) } || $0.text("name") == portText }
            guard let chosen, let number = chosen["port"]?.int else {
                let known = ports.compactMap { $0["port"]?.int.map { "\($0)" } }.joined(separator: ", ")
                throw Refusal(
                    portText.map { "Service \(found.key) has no port \($0)" } ?? "which port of Service \(found.key)?",
                    hint: "it has \(known)")
            }
            (port, portSpec) = (number, chosen)
            return
        }
        guard let pod = wanted.pods(pods, replicaSets: [], services: services).first else {
            let near = services.filter { $0.namespace == wanted.namespace }.map(\.name).joined(separator: ", ")
            throw Refusal(
                "there is neither a Service nor a pod \(wanted.description)",
                hint: near.isEmpty ? "namespace \(wanted.namespace) has no Services" : "Services there: \(near)")
        }
        self.pod = pod
        let ports = pod.spec.list("containers").flatMap { $0.list("ports") }
        let number =
            portText.flatMap { Int64($0) }
            ?? ports.first { portText == nil || $0.text("name") == portText }?[
                "containerPort"]?.int
        guard let number else {
            throw Refusal("which port of pod \(pod.key)?", hint: "\(pod.name):PORT says which")
        }
        port = number
    }

    /// `NAME:PORT`, `10.0.0.1:80`, `[fd00::1]:80`; an IPv6 address has colons of its own.
    private static func split(_ text: String) -> (name: String, port: String?) {
        var (name, port) = (text[...], Substring?.none)
        if IPAddress(text) == nil, let colon = text.lastIndex(of: ":") {
            (name, port) = (text[..<colon], text[text.index(after: colon)...])
        }
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        return (String(name), port.map(String.init))
    }

    /// The pods behind it by EndpointSlices, those that are ready first.
    func servers(_ slices: [KubeObject], _ pods: [KubeObject]) -> [KubeObject] {
        if let pod { return [pod] }
        guard let service else { return [] }
        let found = endpoints(slices).compactMap { endpoint in
            pods.first { $0.namespace == service.namespace && $0.name == endpoint.pod }
        }
        return found.filter { $0.isReady } + found.filter { !$0.isReady }
    }

    struct Endpoint: Hashable {
        var address: String
        var pod: String
        var isReady: Bool
        var isServing: Bool
        var isTerminating: Bool
        var port: Int64
    }

    func endpoints(_ slices: [KubeObject]) -> [Endpoint] {
        guard let service else { return [] }
        let name = portSpec.text("name")
        return slices.filter {
            $0.namespace == service.namespace && $0.label("kubernetes.io/service-name") == service.name
        }.flatMap { slice -> [Endpoint] in
            guard let port = slice.json.list("ports").first(where: { $0.text("name") == name })?["port"]?.int else {
                return []
            }
            return slice.json.list("endpoints").flatMap { endpoint in
                endpoint.list("addresses").compactMap(\.string).prefix(1).map { address in
                    let conditions = endpoint["conditions"]
                    let isReady = conditions?["ready"]?.bool ?? true
                    return Endpoint(
                        address: address, pod: endpoint.text("targetRef", "name"), isReady: isReady,
                        isServing: conditions?["serving"]?.bool ?? isReady,
                        isTerminating: conditions?["terminating"]?.bool ?? false, port: port)
                }
            }
        }
    }
}

extension KubeObject {
    /// Of a Service: an address of its own, or one at which it is called by this port.
    fileprivate func isCalled(at address: String, _ port: String?) -> Bool {
        if spec.list("clusterIPs").contains(.string(address)) { return true }
        let shared =
            spec.list("externalIPs").compactMap(\.string)
            + status.list("loadBalancer", "ingress").map { $0.text("ip") }
        return shared.contains(address) && spec.list("ports").contains { $0["port"]?.int.map(String.init) == port }
    }

    /// Of a pod.
    fileprivate func hasAddress(_ address: String) -> Bool {
        status.list("podIPs").contains { $0.text("ip") == address } || status.text("podIP") == address
    }
}
