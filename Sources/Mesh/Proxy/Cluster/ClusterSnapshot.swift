import Bytes
import HTTP
import TLS

/// A cluster as configuration and discovery have it now. Immutable; shared by all workers.
package final class ClusterSnapshot: Sendable {
    package struct Options: Sendable {
        package var connectTimeout: UInt64 = 5_000_000_000
        /// Of idle pooled connections; 0 for none.
        package var idleTimeout: UInt64 = 3_600_000_000_000
        package var maximumRequestsPerConnection: UInt32 = 0
        package var usesHTTP2 = false
        package init() {}
    }

    package struct Upstream: Hashable, Sendable {
        package var address: SocketAddress
        package var weight: UInt32
        package init(_ address: SocketAddress, weight: UInt32 = 1) {
            self.address = address
            self.weight = weight
        }
    }

    package let name: String
    package let id: ClusterID
    package let options: Options
    package let hosts: [Upstream]
    package let security: UpstreamSecurity?
    let http2Limits: HTTPLimits

    package init(
        name: String, options: Options = Options(), hosts: [Upstream], security: UpstreamSecurity? = nil
    ) {
        self.name = name
        id = ClusterID(name)
        self.options = options
        self.hosts = hosts
        self.security = security
        var limits = HTTPLimits()
        limits.streamWindow = 16 << 20
        limits.connectionWindow = 24 << 20
        http2Limits = limits
    }
}
