public import ClusterAPI
public import ClusterClient
import JSON

/// What the mesh keeps of a Service.
public struct MeshService: APIDecodable, Hashable {
    struct Port: Hashable {
        var name: String
        var number: Int
        /// Upstreams speak HTTP/2 without TLS: `appProtocol`, or by convention the port's name.
        var speaksHTTP2: Bool
    }

    let key: ObjectKey
    let addresses: [String]
    /// Those of TCP.
    let ports: [Port]

    /// Nil fields: a Service that is only a name elsewhere (`ExternalName`) has no ports here.
    public init(_ object: KubeObject) {
        key = object.key
        let spec = object.json["spec"] ?? .null
        addresses = spec.list("clusterIPs").compactMap(\.string).filter { $0 != "None" }
        guard spec.text("type") != "ExternalName" else {
            ports = []
            return
        }
        ports = spec.list("ports").filter { ["", "TCP"].contains($0.text("protocol")) }.map { port in
            Port(
                name: port.text("name"), number: Int(port.number("port")),
                speaksHTTP2: Self.isHTTP2(port.text("appProtocol"), name: port.text("name")))
        }
    }

    private static func isHTTP2(_ appProtocol: String, name: String) -> Bool {
        switch appProtocol {
        case "kubernetes.io/h2c", "grpc", "http2": return true
        case "":
            let prefix = name.split(separator: "-").first.map(String.init) ?? ""
            return prefix == "grpc" || prefix == "http2"
        default: return false
        }
    }
}

/// What the mesh keeps of an EndpointSlice.
public struct MeshSlice: APIDecodable, Hashable {
    struct Endpoint: Hashable {
        var address: String
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
        key = object.key
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
            return Endpoint(
                address: address, zone: endpoint.text("zone"), isReady: conditions["ready"] != .bool(false),
                isDraining: conditions["terminating"] == .bool(true) && isServing)
        }
    }
}
