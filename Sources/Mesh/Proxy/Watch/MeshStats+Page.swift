extension ProxyServer {
    /// The mesh's request metrics of all workers in Prometheus' text format; empty for a proxy of no mesh.
    func meshStats() async -> String {
        guard isOfMesh else { return "" }
        var all: [String: MeshStats.Series] = [:]
        var overflowed: UInt64 = 0
        for worker in workers {
            let told = try? await worker.loop.perform { () -> ([String: MeshStats.Series], UInt64) in
                guard let stats = worker.watch.stats else { return ([:], 0) }
                return (stats.tell(now: worker.now), stats.overflowed)
            }
            guard let (series, more) = told else { continue }
            overflowed &+= more
            for (labels, values) in series { all[labels, default: MeshStats.Series()].add(values) }
        }
        return Self.text(all, overflowed)
    }

    static func text(_ all: [String: MeshStats.Series], _ overflowed: UInt64) -> String {
        let sorted = all.sorted { $0.key < $1.key }
        var out = "# TYPE istio_requests_total counter\n"
        for (labels, series) in sorted { out += "istio_requests_total{\(labels)} \(series.count)\n" }
        let name = "istio_request_duration_milliseconds"
        out += "# TYPE \(name) histogram\n"
        for (labels, series) in sorted {
            var below: UInt64 = 0
            for (index, bound) in HistogramSnapshot.bounds.enumerated() {
                below += UInt64(series.buckets[index])
                out += "\(name)_bucket{\(labels),le=\"\(PrometheusText.number(bound))\"} \(below)\n"
            }
            out += "\(name)_bucket{\(labels),le=\"+Inf\"} \(series.count)\n"
            out +=
                "\(name)_sum{\(labels)} \(PrometheusText.number(series.sum))\n\(name)_count{\(labels)} \(series.count)\n"
        }
        out += "# TYPE weft_mesh_stats_overflow_total counter\nweft_mesh_stats_overflow_total \(overflowed)\n"
        return out
    }
}
