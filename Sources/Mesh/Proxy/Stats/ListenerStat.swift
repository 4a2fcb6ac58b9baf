/// What is counted of a listener (`listener.ADDRESS.`).
enum ListenerStat: Int, StatBlock {
    case connections, activeConnections, closed, noChain, filterTimeouts, filterErrors, inspected, filterCloses
    case overflows, globalOverflows, overloadRefusals, handshakeTimeouts

    var leaf: String {
        switch self {
        case .connections: "downstream_cx_total"
        case .activeConnections: "downstream_cx_active"
        case .closed: "downstream_cx_destroy"
        case .noChain: "no_filter_chain_match"
        case .filterTimeouts: "downstream_pre_cx_timeout"
        case .filterErrors: "downstream_listener_filter_error"
        case .inspected: "downstream_pre_cx_active"
        case .filterCloses: "downstream_listener_filter_remote_close"
        case .overflows: "downstream_cx_overflow"
        case .globalOverflows: "downstream_global_cx_overflow"
        case .overloadRefusals: "downstream_cx_overload_reject"
        case .handshakeTimeouts: "downstream_cx_transport_socket_connect_timeout"
        }
    }

    var kind: StatSample.Kind { self == .activeConnections || self == .inspected ? .gauge : .counter }
    /// Told once more of each worker.
    var isToldByWorker: Bool { self == .connections || self == .activeConnections }
}

/// What is counted of a listener's connection manager (`listener.ADDRESS.http.PREFIX.`).
enum ListenerHTTPStat: Int, StatBlock {
    case completed, informational, successful, redirections, clientErrors, serverErrors

    /// nil when the status is in no class.
    init?(status: Int) { self.init(rawValue: (1...5).contains(status / 100) ? status / 100 : -1) }

    var leaf: String { self == .completed ? "downstream_rq_completed" : "downstream_rq_\(rawValue)xx" }
}
