/// What every simulated proxy asks for, encoded once for all of them: all clusters, their endpoints by name, all listeners, their
/// routes by name, in this order, as a sidecar does.
final class Subscription: Sendable {
    enum Form: String, Sendable { case delta, sotw }

    struct Kind: Sendable {
        let typeURL: String
        /// Fields of a request: the names that are asked for; empty for all.
        let names: [UInt8]
        let count: Int
    }

    let form: Form
    let kinds: [Kind]
    /// Of `kinds`.
    static let endpoints = 1
    static let routes = 3

    /// - Parameter others: Services that are there besides the numbered ones, as `host:port`; a proxy asks for the endpoints of each cluster
    ///   that it is told of, and is waited for until it has.
    init(_ form: Form, services: Int, others: [String]) {
        self.form = form
        func kind(_ name: String, _ names: [String] = []) -> Kind {
            var fields: [UInt8] = []
            for name in names { fields.append(3, name.utf8) }
            return Kind(typeURL: "type.googleapis.com/envoy.config.\(name)", names: fields, count: names.count)
        }
        let places = (0..<services).map { MeshCluster.host($0) + ":80" } + others
        let clusters = places.map { place in
            let parts = place.split(separator: ":")
            return "outbound|\(parts[1])||\(parts[0])"
        }
        kinds = [
            kind("cluster.v3.Cluster"),
            kind("endpoint.v3.ClusterLoadAssignment", clusters),
            kind("listener.v3.Listener"),
            kind("route.v3.RouteConfiguration", places.filter { $0.hasSuffix(":80") }),
        ]
    }

    var path: String {
        let method = form == .delta ? "DeltaAggregatedResources" : "StreamAggregatedResources"
        return "/envoy.service.discovery.v3.AggregatedDiscoveryService/\(method)"
    }

    /// The first request of a kind.
    func request(_ kind: Int, node: [UInt8]) -> [UInt8] {
        let kind = kinds[kind]
        var request: [UInt8] = []
        if !node.isEmpty { request.append(form == .delta ? 1 : 2, node) }
        request.append(form == .delta ? 2 : 4, kind.typeURL.utf8)
        return request + kind.names
    }

    /// Takes a response. State of the world repeats all that it asks for.
    func acknowledgement(_ kind: Int, version: UnsafeRawBufferPointer, nonce: UnsafeRawBufferPointer) -> [UInt8] {
        let kind = kinds[kind]
        var request: [UInt8] = []
        switch form {
        case .delta:
            request.append(2, kind.typeURL.utf8)
            request.append(6, nonce)
        case .sotw:
            request.reserveCapacity(kind.names.count + 160)
            request.append(1, version)
            request += kind.names
            request.append(4, kind.typeURL.utf8)
            request.append(5, nonce)
        }
        return request
    }
}

extension [UInt8] {
    /// A protobuf field with a length.
    mutating func append(_ number: UInt8, _ bytes: some Collection<UInt8>) {
        append(number << 3 | 2)
        var length = bytes.count
        while length >= 0x80 {
            append(UInt8(length & 0x7f) | 0x80)
            length >>= 7
        }
        append(UInt8(length))
        append(contentsOf: bytes)
    }
}
