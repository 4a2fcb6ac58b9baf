// Watch: requests as they end, for those who look on: taps, and the mesh's metrics, which see relayed connections too. Costs one comparison where nobody does.

/// What looks on at a worker's requests.
struct RequestWatch {
    private(set) var taps: [Tap] = []
    /// Of a proxy of the mesh; nil for others.
    var stats: MeshStats? { didSet { isWatching = stats != nil || !taps.isEmpty } }
    private(set) var isWatching = false

    mutating func add(_ tap: Tap) {
        taps.append(tap)
        isWatching = true
    }

    mutating func remove(_ tap: Tap) {
        taps.removeAll { $0 === tap }
        isWatching = stats != nil || !taps.isEmpty
    }

    /// Asks for the pages that a proxy of the mesh has beside its application (Istio's ports 15021 and 15090): probes and scrapes, which
    /// are no traffic of anybody's.
    func isOwnPage(_ connection: ProxyConnection?) -> Bool {
        guard stats != nil, let port = connection?.origin.local.port else { return false }
        return port == 15021 || port == 15090
    }

    func take(_ stream: HTTPStream) {
        stats?.count(stream)
        for tap in taps { tap.take(stream) }
    }
}

/// Which side of its application a proxy is on for a request.
enum TrafficSide: UInt8, Sendable {
    /// From outside to the application beside the proxy.
    case inbound
    /// From that application, or through a gateway.
    case outbound

    init(_ connection: ProxyConnection?) {
        self = connection?.listener?.snapshot.isInbound ?? false ? .inbound : .outbound
    }

    var word: String { self == .inbound ? "inbound" : "outbound" }
}

extension HTTPStream {
    /// The SPIFFE name, or other name, that the other end has proven: the client's of what comes in, the server's of what goes out.
    func peerName(_ side: TrafficSide) -> String? {
        let session = side == .inbound ? tls : upstream.tls
        guard let certificate = session?.peerCertificate else { return nil }
        return certificate.alternativeNames.uris.first ?? certificate.alternativeNames.dns.first
    }
}
