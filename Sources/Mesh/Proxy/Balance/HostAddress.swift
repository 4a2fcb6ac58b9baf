import Bytes

/// Where a host is, as a number in flat memory. Hosts that are no IP endpoint have theirs among `HostDetails`.
struct HostAddress: Equatable, Sendable, BitwiseCopyable {
    private var high: UInt64
    private var low: UInt64
    private var scope: UInt32
    private var port: UInt16
    /// 0: no IP endpoint.
    private var family: UInt8

    init(_ endpoint: IPEndpoint) {
        high = endpoint.address.high
        low = endpoint.address.low
        scope = endpoint.scope
        port = endpoint.port.rawValue
        family = endpoint.address.family.rawValue
    }

    init(_ address: SocketAddress) {
        if let endpoint = address.endpoint {
            self.init(endpoint)
        } else {
            self.init(IPEndpoint(IPAddress(v6: 0, 0), 0))
            family = 0
        }
    }

    var socketAddress: SocketAddress {
        let address =
            family == IPAddress.Family.v4.rawValue
            ? IPAddress(v4: UInt32(truncatingIfNeeded: low)) : IPAddress(v6: high, low)
        return .ip(address, Port(port), scope: scope)
    }
}

/// What few hosts have beside numbers.
struct HostDetails: Sendable {
    var hostname: String
    var metadata: HostMetadata?
    /// Of those that are no IP endpoint.
    var address: SocketAddress?

    /// One for each host; nil when none has any.
    static func of(_ hosts: [Host]) -> [HostDetails]? {
        let details = hosts.map {
            HostDetails(
                hostname: $0.hostname, metadata: $0.metadata, address: $0.address.endpoint == nil ? $0.address : nil)
        }
        return details.allSatisfy { $0.hostname.isEmpty && $0.metadata == nil && $0.address == nil } ? nil : details
    }
}
