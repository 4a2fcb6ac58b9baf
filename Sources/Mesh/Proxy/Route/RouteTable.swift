/// A route configuration, compiled: which virtual host serves an authority, and which of its routes a request.
///
/// An immutable snapshot, shared by all workers; a stream keeps the entry it was given.
package final class RouteTable: Sendable {
    package let name: String
    package let hosts: [VirtualHost]
    package let requestHeaders: [HeaderMutation]
    package let responseHeaders: [HeaderMutation]

    package init(
        name: String, hosts: [VirtualHost], requestHeaders: [HeaderMutation] = [],
        responseHeaders: [HeaderMutation] = []
    ) {
        self.name = name
        self.hosts = hosts
        self.requestHeaders = requestHeaders
        self.responseHeaders = responseHeaders
    }

    package func find(_ stream: HTTPStream) -> RouteEntry? {
        for host in hosts {
            for route in host.routes where route.match.matches(stream) { return route }
        }
        return nil
    }
}

package final class VirtualHost: Sendable {
    package let name: String
    package let domains: [String]
    package let routes: [RouteEntry]

    package init(name: String, domains: [String], routes: [RouteEntry]) {
        self.name = name
        self.domains = domains
        self.routes = routes
    }
}
