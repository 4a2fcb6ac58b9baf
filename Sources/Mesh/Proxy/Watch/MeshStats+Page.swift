extension ProxyServer {
    /// The mesh's metrics of all workers in Prometheus' text format; empty for a proxy of no mesh.
    func meshStats() async -> String {
        guard isOfMesh else { return "" }
        var all = MeshStats.Told()
        for worker in workers {
            let told = try? await worker.loop.perform { worker.watch.stats?.tell(now: worker.now) }
            if let told = told ?? nil { all.add(told) }
        }
        return all.text
    }
}

extension MeshStats.Told {
    var text: String {
        var out = ""
        let requests = requests.sorted { $0.key < $1.key }
        Self.tell("istio_requests_total", requests, \.count, to: &out)
        for (name, path) in [
            ("istio_request_duration_milliseconds", \MeshStats.Requests.times),
            ("istio_request_bytes", \.received), ("istio_response_bytes", \.sent),
        ] {
            Self.tellHistogram(name, requests, path, to: &out)
        }
        let connections = connections.sorted { $0.key < $1.key }
        Self.tell("istio_tcp_connections_opened_total", connections, \.opened, to: &out)
        Self.tell("istio_tcp_connections_closed_total", connections, \.closed, to: &out)
        Self.tell("istio_tcp_received_bytes_total", connections, \.received, to: &out)
        Self.tell("istio_tcp_sent_bytes_total", connections, \.sent, to: &out)
        out += "# TYPE weft_mesh_stats_overflow_total counter\nweft_mesh_stats_overflow_total \(overflowed)\n"
        return out
    }

    private static func tell<Values>(
        _ name: String, _ all: [(key: String, value: Values)], _ path: KeyPath<Values, UInt64>, to out: inout String
    ) {
        out += "# TYPE \(name) counter\n"
        for (labels, values) in all { out += "\(name){\(labels)} \(values[keyPath: path])\n" }
    }

    private static func tellHistogram(
        _ name: String, _ all: [(key: String, value: MeshStats.Requests)],
        _ path: KeyPath<MeshStats.Requests, MeshStats.Distribution>, to out: inout String
    ) {
        out += "# TYPE \(name) histogram\n"
        for (labels, requests) in all {
            let distribution = requests[keyPath: path]
            var below: UInt64 = 0
            for (index, bound) in HistogramSnapshot.bounds.enumerated() {
                below += UInt64(distribution.buckets[index])
                out += "\(name)_bucket{\(labels),le=\"\(PrometheusText.number(bound))\"} \(below)\n"
            }
            out += "\(name)_bucket{\(labels),le=\"+Inf\"} \(requests.count)\n"
            out += "\(name)_sum{\(labels)} \(PrometheusText.number(distribution.sum))\n"
            out += "\(name)_count{\(labels)} \(requests.count)\n"
        }
    }
}
