import JSON
import Testing

@testable import Proxy

@Suite("Statistics as pages")
struct StatPageTests {
    private var report: StatReport {
        var report = StatReport()
        report.counter(.cluster("a.b"), "upstream_rq_200", 3)
        report.counter(.cluster("a.b"), "external.upstream_rq_2xx", 3)
        report.counter(.cluster("a.b"), "upstream_rq_timeout", 0)
        report.gauge(.http("in"), "downstream_rq_active", 0, isUsed: true)
        report.counter(.listenerHTTP(listener: "0.0.0.0:80", prefix: "in"), "downstream_rq_5xx", 1)
        var histogram = LogLinearHistogram()
        histogram.record(7)
        report.histogram(.http("in"), "downstream_rq_time", histogram.snapshot)
        histogram.deallocate()
        return report
    }

    @Test("text is in the order of names, histograms behind")
    func text() {
        let expected = """
            cluster.a.b.external.upstream_rq_2xx: 3
            cluster.a.b.upstream_rq_200: 3
            cluster.a.b.upstream_rq_timeout: 0
            http.in.downstream_rq_active: 0
            listener.0.0.0.0_80.http.in.downstream_rq_5xx: 1
            http.in.downstream_rq_time: P0(nan,7.05) P25(nan,7.05) P50(nan,7.05) P75(nan,7.05) P90(nan,7.05) \
            P95(nan,7.05) P99(nan,7.05) P99.5(nan,7.05) P99.9(nan,7.05) P100(nan,7.05)

            """
        #expect(StatPage().render(report) == expected)
    }

    @Test("what was never touched is left out when only the used are asked for")
    func usedOnly() {
        var page = StatPage()
        page.usedOnly = true
        #expect(!page.render(report).contains("upstream_rq_timeout"))
        #expect(page.render(report).contains("downstream_rq_active: 0"))
    }

    @Test("a filter keeps the names that it finds; inverted, the others")
    func filter() throws {
        var page = StatPage()
        page.filter = try Regex("^cluster\\.")
        #expect(page.render(report).split(separator: "\n").count == 3)
        page.invertsFilter = true
        #expect(page.render(report).split(separator: "\n").count == 3)
    }

    @Test(
        "names, codes and classes become labels in Prometheus",
        arguments: [
            (
                StatScope.cluster("a.b"), "upstream_rq_200", "envoy_cluster_upstream_rq",
                "envoy_response_code=\"200\",envoy_cluster_name=\"a.b\""
            ),
            (
                .cluster("x"), "external.upstream_rq_2xx", "envoy_cluster_external_upstream_rq_xx",
                "envoy_response_code_class=\"2\",envoy_cluster_name=\"x\""
            ),
            (
                .http("in"), "downstream_rq_total", "envoy_http_downstream_rq_total",
                "envoy_http_conn_manager_prefix=\"in\""
            ),
            (
                .listenerWorker(listener: "0.0.0.0:80", worker: 1), "downstream_cx_active",
                "envoy_listener_worker_downstream_cx_active",
                "envoy_worker_id=\"1\",envoy_listener_address=\"0.0.0.0_80\""
            ),
            (.process, "server.live", "envoy_server_live", ""),
        ])
    func series(_ scope: StatScope, _ leaf: String, _ name: String, _ labels: String) {
        let series = PrometheusText.series(scope, leaf)
        #expect(series.name == name)
        #expect(series.labels == labels)
    }

    @Test("a histogram has every bucket, the sum and the count")
    func buckets() {
        var page = StatPage()
        page.format = .prometheus
        let lines = page.render(report).split(separator: "\n")
        let start = "envoy_http_downstream_rq_time"
        #expect(lines.contains("# TYPE \(start) histogram"))
        #expect(lines.contains("\(start)_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"5\"} 0"))
        #expect(lines.contains("\(start)_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"10\"} 1"))
        #expect(lines.contains("\(start)_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"+Inf\"} 1"))
        #expect(lines.contains("\(start)_sum{envoy_http_conn_manager_prefix=\"in\"} 7"))
    }

    @Test("JSON tells numbers as numbers")
    func json() throws {
        var page = StatPage()
        page.format = .json
        let value = try JSONValue.parse(Array(page.render(report).utf8))
        #expect(value["stats"]?[0]?["name"]?.string == "cluster.a.b.external.upstream_rq_2xx")
        #expect(value["stats"]?[0]?["value"]?.int == 3)
        #expect(
            value["stats"]?[5]?["histograms"]?["computed_quantiles"]?[0]?["name"]?.string
                == "http.in.downstream_rq_time")
    }
}
