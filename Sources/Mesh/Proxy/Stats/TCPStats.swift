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
    package var demands: UInt64 = 0
    package var demandsMet: UInt64 = 0
    package var demandsUnmet: UInt64 = 0

    package init() {}

    package static let table = StatTable<TCPStats>(
        counters: [
            ("downstream_cx_total", \.connections), ("downstream_cx_rx_bytes_total", \.received),
            ("downstream_cx_tx_bytes_total", \.sent), ("downstream_cx_no_route", \.noRoutes),
            ("idle_timeout", \.idleTimeouts), ("max_downstream_connection_duration", \.durationsReached),
            ("downstream_flow_control_paused_reading_total", \.paused),
            ("downstream_flow_control_resumed_reading_total", \.resumed),
            ("on_demand_cluster_attempt", \.demands), ("on_demand_cluster_success", \.demandsMet),
            ("on_demand_cluster_missing", \.demandsUnmet),
        ], gauges: [("downstream_cx_active", \.activeConnections, \.connections)], histograms: [])
}
