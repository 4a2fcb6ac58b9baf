/// What one worker counts of a connection manager (`http.PREFIX.`); plain integers, summed when somebody asks.
package struct ManagerStats {
    package var requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    package var completed: UInt64 = 0
    package var responses: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
    package var connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var idleTimeouts: UInt64 = 0
    package var requestTimeouts: UInt64 = 0
    package var remoteResets: UInt64 = 0
    package var localResets: UInt64 = 0
    package var protocolErrors: UInt64 = 0
    package var noRoutes: UInt64 = 0
    package var noClusters: UInt64 = 0

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
