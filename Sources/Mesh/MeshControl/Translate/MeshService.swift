public import ClusterAPI
public import ClusterClient
import JSON

/// What the mesh keeps of a Service.
public struct MeshService: APIDecodable, Hashable {
    struct Port: Hashable {
        var name: String
        var number: Int
        var spoken: PortProtocol
        /// Where its pods listen: a number, or the name of a container's port.
        var target: Target

        /// Upstreams speak HTTP/2 without TLS.
        var speaksHTTP2: Bool { spoken == .http2 }

        /// Where a pod listens for it; nil where no container has a port of the name.
        func number(of pod: MeshPod) -> Int? {
            switch target {
            case .number(let number): number
            case .name(let name): pod.ports[name]
            }
        }
    }

    enum Target: Hashable {
        case number(Int)
        case name(String)
    }

    let key: ObjectKey
    let addresses: [String]
    /// Those of TCP.
    let ports: [Port]
    /// Empty selects nothing: its endpoints are set by hand.
    let selector: [String: String]

    /// Addresses from outside, as `status.loadBalancer` has them.
    let ingress: [String]
    /// The Gateway that it is made for.
    let gateway: String?

    /// Nil fields: a Service that is only a name elsewhere (`ExternalName`) has no ports here.
    public init(_ object: KubeObject) {
        key = object.key
        let spec = object.json["spec"] ?? .null
        ingress = object.json.list("status", "loadBalancer", "ingress").map {
            $0.text("ip").isEmpty ? $0.text("hostname") : $0.text("ip")
        }
        gateway = object.label("gateway.networking.k8s.io/gateway-name")
        addresses = spec.list("clusterIPs").compactMap(\.string).filter { $0 != "None" }
        guard spec.text("type") != "ExternalName" else {
            (ports, selector) = ([], [:])
            return
        }
        selector = (spec["selector"]?.object ?? JSONObject()).reduce(into: [:]) { $0[$1.key] = $1.value.string ?? "" }
        ports = spec.list("ports").filter { ["", "TCP"].contains($0.text("protocol")) }.map { port in
            let target: Target =
                switch port["targetPort"] {
                case .string(let name)?: .name(name)
                case let value?: .number(Int(value.int ?? port.number("port")))
                case nil: .number(Int(port.number("port")))
                }
            return Port(
                name: port.text("name"), number: Int(port.number("port")),
                spoken: PortProtocol(appProtocol: port.text("appProtocol"), portName: port.text("name")), target: target
            )
        }
    }

    /// It has no address of its own: its name stands for its pods.
    var isHeadless: Bool { addresses.isEmpty && !ports.isEmpty }

    /// Whether a pod is behind it; the Service's own pods only.
    func selects(_ pod: MeshPod) -> Bool {
        !selector.isEmpty && key.namespace == pod.key.namespace && pod.matches(selector)
    }
}

/// What the mesh keeps of an EndpointSlice.
public struct MeshSlice: APIDecodable, Hashable {
    struct Endpoint: Hashable {
        var address: String
        /// The pod at this address; nil for what is no pod of the Service's namespace.
        var pod: ObjectKey?
        var zone: String
        var isReady: Bool
        /// It still answers what it has begun.
        var isDraining: Bool
    }

    let key: ObjectKey
    let service: ObjectKey
    /// By the name of the Service's port.
    let ports: [String: Int]
    let endpoints: [Endpoint]

    public init(_ object: KubeObject) {
        let key = object.key
        self.key = key
        let labels = object.json[path: "metadata", "labels"] ?? .null
        service = ObjectKey(namespace: key.namespace, name: labels.text("kubernetes.io/service-name"))
        ports = Dictionary(
            object.json.list("ports").filter { ["", "TCP"].contains($0.text("protocol")) }
                .map { ($0.text("name"), Int($0.number("port"))) }, uniquingKeysWith: { first, _ in first })
        endpoints = object.json.list("endpoints").compactMap { endpoint in
            // Others of the list are the same endpoint again (discovery.k8s.io/v1).
            guard let address = endpoint.list("addresses").first?.string else { return nil }
            let conditions = endpoint["conditions"] ?? .null
            let isServing = conditions["serving"] != .bool(false)
            let target = endpoint["targetRef"] ?? .null
            return Endpoint(
                address: address,
                pod: target.text("kind") == "Pod"
                    ? ObjectKey(namespace: key.namespace, name: target.text("name")) : nil, zone: endpoint.text("zone"),
                isReady: conditions["ready"] != .bool(false),
                isDraining: conditions["terminating"] == .bool(true) && isServing)
        }
    }
}
