import Bytes
import XDS

/// Endpoints of which discovery gave names: what a DNS cluster looks up, and what becomes of the answers. Pure.
struct NamedEndpoints: Sendable {
    struct Target: Hashable, Sendable {
        var name: String
        var port: Port
    }

    enum Family: Sendable {
        case auto, v4Only, v6Only, v4Preferred, all

        /// The types of records to ask for in order, and whether the next is asked for although there is an answer.
        var queries: (types: [IPAddress.Family], takesAll: Bool) {
            switch self {
            case .auto: ([.v6, .v4], false)
            case .v4Only: ([.v4], false)
            case .v6Only: ([.v6], false)
            case .v4Preferred: ([.v4, .v6], false)
            case .all: ([.v6, .v4], true)
            }
        }
    }

    struct Options: Sendable {
        var family = Family.auto
        var refresh = Duration.seconds(5)
        /// After a look-up that failed; nil is `refresh`.
        var failureRefresh: Duration?
        /// The answer's own time to live says when it is asked for again.
        var respectsTTL = false
        var leastRefresh = Duration.seconds(1)
        /// Name servers to ask instead of the host's own.
        var servers: [IPEndpoint] = []
        /// One host for each name, whichever of its addresses it is (LOGICAL_DNS).
        var isLogical = false

        /// When to ask again after an answer that holds for `ttl` seconds.
        func next(ttl: UInt32?) -> Duration {
            guard respectsTTL, let ttl else { return refresh }
            return max(.seconds(Int64(ttl)), leastRefresh)
        }
    }

    /// With placeholders for addresses.
    private let assignment: EndpointAssignment
    /// In the order of the assignment's endpoints.
    let targets: [Target]
    let options: Options

    init(_ node: ConfigNode, _ options: Options) throws(ConfigError) {
        var targets: [Target] = []
        assignment = try EndpointAssignment(node) { (endpoint) throws(ConfigError) in
            guard let address = endpoint.message("address"), let socket = address.message("socket_address") else {
                throw endpoint.error("address", "a DNS cluster needs socket_address")
            }
            guard try socket.enumeration("protocol", as: SocketProtocol.self) == .tcp else {
                throw socket.error("protocol", "UDP is not supported here")
            }
            guard socket.string("resolver_name").isEmpty else { throw socket.unsupported("resolver_name") }
            let port = Port(UInt16(clamping: socket.uint32("port_value")))
            targets.append(Target(name: socket.string("address"), port: port))
            return .ip(.loopbackV4, port)
        }
        self.targets = targets
        self.options = options
        guard !options.isLogical || targets.count == 1 else {
            throw node.error("endpoints", "a LOGICAL_DNS cluster must have exactly one endpoint")
        }
    }

    /// The endpoints when each target has these addresses.
    func expanded(_ addresses: [[IPAddress]]) -> EndpointAssignment {
        var result = assignment
        var number = 0
        for locality in result.localities.indices {
            result.localities[locality].endpoints = assignment.localities[locality].endpoints.flatMap { endpoint in
                defer { number += 1 }
                return addresses[number].map { address in
                    var host = endpoint
                    host.address = .ip(address, targets[number].port)
                    if host.hostname.isEmpty { host.hostname = targets[number].name }
                    return host
                }
            }
        }
        return result
    }
}
