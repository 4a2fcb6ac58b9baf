/// What one worker counts of a cluster; plain integers, summed when somebody asks.
package struct ClusterStats {
    package var requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    package var connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var connectFailures: UInt64 = 0
    package var connectTimeouts: UInt64 = 0
    package var pending: UInt64 = 0
    package var activePending: Int64 = 0
    package var timeouts: UInt64 = 0
    package var perTryTimeouts: UInt64 = 0
    package var retries: UInt64 = 0
    package var retrySuccesses: UInt64 = 0
    package var retryLimitsExceeded: UInt64 = 0
    package var localResets: UInt64 = 0
    package var remoteResets: UInt64 = 0
    package var noneHealthy: UInt64 = 0
    /// Responses by the first digit of their status.
    package var responses: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)

    mutating func count(status: Int) {
        switch status / 100 {
        case 1: responses.0 &+= 1
        case 2: responses.1 &+= 1
        case 3: responses.2 &+= 1
        case 4: responses.3 &+= 1
        default: responses.4 &+= 1
        }
    }
}
