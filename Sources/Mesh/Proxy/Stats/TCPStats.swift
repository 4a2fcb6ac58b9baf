/// What one worker counts of TCP proxies with one prefix (`tcp.PREFIX.`); plain integers, summed when somebody asks.
package struct TCPStats {
    package var connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var received: UInt64 = 0
    package var sent: UInt64 = 0
    package var noRoutes: UInt64 = 0
    package var idleTimeouts: UInt64 = 0
    package var durationsReached: UInt64 = 0
    package var paused: UInt64 = 0
    package var resumed: UInt64 = 0

    package init() {}
}
