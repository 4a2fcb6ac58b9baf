import HTTP
import TLS

/// One route: what it matches and what becomes of a request that it matches. Immutable.
package final class RouteEntry: Sendable {
    package enum Action: Sendable {
        case forward(ForwardAction)
        case direct(DirectResponse)
    }

    package let name: String
    package let match: RouteMatch
    package let action: Action
    /// Of the route, its virtual host and its table, in the order in which they are applied.
    package let requestHeaders: [HeaderMutation]
    package let responseHeaders: [HeaderMutation]
    /// Of the route, its virtual host and its table, as far as they say something of filters.
    let overrides: [FilterOverrides]
    /// What the virtual host asks rate limit services about.
    let hostRateLimits: [RateLimitPolicy]

    package init(
        name: String = "", match: RouteMatch, action: Action, requestHeaders: [HeaderMutation] = [],
        responseHeaders: [HeaderMutation] = [], overrides: [FilterOverrides] = [],
        hostRateLimits: [RateLimitPolicy] = []
    ) {
        self.overrides = overrides
        self.hostRateLimits = hostRateLimits
        self.name = name
        self.match = match
        self.action = action
        self.requestHeaders = requestHeaders
        self.responseHeaders = responseHeaders
    }
}

/// What a route asks of a request.
package struct RouteMatch: Sendable {
    package enum Path: Sendable {
        case prefix([UInt8])
        case exact([UInt8])
    }

    package var path: Path

    package init(path: Path) { self.path = path }

    func matches(_ stream: HTTPStream) -> Bool {
        switch path {
        case .prefix(let prefix): stream.request.path.starts(with: prefix)
        case .exact(let exact): stream.request.pathWithoutQuery.elementsEqual(exact)
        }
    }
}

/// An answer that the proxy gives by itself.
package struct DirectResponse: Sendable {
    package var status: Int
    package var body: [UInt8]

    package init(status: Int, body: [UInt8] = []) {
        self.status = status
        self.body = body
    }
}

/// The request goes to a cluster.
package final class ForwardAction: Sendable {
    package enum Choice: Sendable {
        case cluster(ClusterID)
    }

    package struct Options: Sendable {
        /// From the end of the request to the end of the response, nanoseconds; 0 for none.
        package var timeout: UInt64 = 15_000_000_000
        /// Overrides the connection manager's; nil for its value.
        package var idleTimeout: UInt64?
        package var retry: RetryPolicy?
        package var isHighPriority = false
        package var clusterNotFoundStatus = 503
        var rateLimits: [RateLimitPolicy] = []
        var includesHostRateLimits = false
        package init() {}
    }

    package let choice: Choice
    package let options: Options

    package init(_ choice: Choice, _ options: Options = Options()) {
        self.choice = choice
        self.options = options
    }
}

/// When a failed attempt is followed by another.
package struct RetryPolicy: Sendable, Hashable {
    package struct Conditions: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let serverError = Conditions(rawValue: 1)
        package static let gatewayError = Conditions(rawValue: 2)
        package static let reset = Conditions(rawValue: 4)
        package static let resetBeforeRequest = Conditions(rawValue: 8)
        package static let connectFailure = Conditions(rawValue: 16)
        package static let retriable4xx = Conditions(rawValue: 32)
        package static let refusedStream = Conditions(rawValue: 64)
        package static let retriableStatusCodes = Conditions(rawValue: 128)
        package static let retriableHeaders = Conditions(rawValue: 256)
        package static let envoyRateLimited = Conditions(rawValue: 512)
        package static let grpcCancelled = Conditions(rawValue: 1024)
        package static let grpcDeadlineExceeded = Conditions(rawValue: 2048)
        package static let grpcInternal = Conditions(rawValue: 4096)
        package static let grpcResourceExhausted = Conditions(rawValue: 8192)
        package static let grpcUnavailable = Conditions(rawValue: 16384)
    }

    package var conditions: Conditions
    package var retries = 1
    /// Nanoseconds; 0 for none.
    package var perTryTimeout: UInt64 = 0
    package var perTryIdleTimeout: UInt64 = 0
    package var baseInterval: UInt64 = 25_000_000
    package var maximumInterval: UInt64 = 250_000_000
    package var statusCodes: [Int] = []
    package var hostAttempts = 1
    package var avoidsPreviousHosts = false

    package init(_ conditions: Conditions) { self.conditions = conditions }
}
