/// What is spoken at a port of a Service, as far as proxies treat it differently.
///
/// Said by `appProtocol`, or by the port's name up to its first dash; what neither says is `unknown`. Nothing is guessed from bytes: a
/// server that speaks first would have to wait for a client that waits for it.
enum PortProtocol: Hashable, Sendable {
    case http
    /// Without TLS of its own; gRPC is this.
    case http2
    /// A stream whose server speaks first.
    case serverFirst
    /// Any other stream, TLS included.
    case tcp
    /// Nobody says: a stream, until a route of HTTP binds to it.
    case unknown

    init(appProtocol: String, portName: String) {
        if let known = Self.named(appProtocol.lowercased()) {
            self = known
        } else if !appProtocol.isEmpty {
            self = .unknown
        } else {
            let name = portName.lowercased()
            let prefix = name.split(separator: "-").first.map(String.init) ?? ""
            self = Self.named(name.hasPrefix("grpc-web") ? "grpc-web" : prefix) ?? .unknown
        }
    }

    var isHTTP: Bool { self == .http || self == .http2 }

    private static func named(_ name: String) -> PortProtocol? {
        switch name {
        case "http", "kubernetes.io/ws", "ws", "grpc-web": .http
        case "http2", "grpc", "kubernetes.io/h2c", "h2c": .http2
        case "mysql", "smtp", "ftp", "ssh", "imap", "pop3", "vnc": .serverFirst
        case "tcp", "tls", "https", "kubernetes.io/wss", "wss", "mongo", "redis", "postgres", "postgresql", "amqp",
            "kafka":
            .tcp
        default: nil
        }
    }
}
