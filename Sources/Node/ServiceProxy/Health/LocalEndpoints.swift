import Bytes
import ClusterAPI
import HTTP
import JSON

/// How many endpoints of a Service are ready on this node: what its health check port answers with.
struct LocalEndpoints: Equatable, Sendable {
    var v4 = 0
    var v6 = 0

    /// For whom asks over a family. A Service that has no endpoints of it is asked about the other one.
    func count(_ family: IPAddress.Family) -> Int {
        let (own, other) = family == .v4 ? (v4, v6) : (v6, v4)
        return own > 0 ? own : other
    }

    /// Status, headers and body for a load balancer: this node serves the Service when an endpoint is here and ready, and the
    /// proxy keeps up.
    func answer(
        for service: ObjectKey, over family: IPAddress.Family, isProxyHealthy: Bool
    ) -> (status: Int, headers: HTTPHeaders, body: JSONValue) {
        let count = count(family)
        let body: JSONValue = [
            "service": ["namespace": .string(service.namespace), "name": .string(service.name)],
            "localEndpoints": .int(Int64(count)), "serviceProxyHealthy": .bool(isProxyHealthy),
        ]
        return (
            count > 0 && isProxyHealthy ? 200 : 503,
            [
                "content-type": "application/json", "x-content-type-options": "nosniff",
                "x-load-balancing-endpoint-weight": String(count),
            ], body
        )
    }
}
