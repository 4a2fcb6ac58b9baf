/// How far the proxy is in its life, in the words of Envoy's `ServerInfo.State`.
package enum ServerState: String, Sendable {
    case live = "LIVE"
    /// Health checks fail, or listeners drain: nothing new should be sent here.
    case draining = "DRAINING"
    case preInitializing = "PRE_INITIALIZING"
    case initializing = "INITIALIZING"

    /// The value of the gauge `server.state`.
    var number: Int64 {
        switch self {
        case .live: 0
        case .draining: 1
        case .preInitializing: 2
        case .initializing: 3
        }
    }
}
