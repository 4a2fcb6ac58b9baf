import Bytes
import Synchronization
import Testing

@testable import Telemetry

@Suite struct MetricsTests {
    @Test("metrics are written as Prometheus reads them, with labels escaped and buckets added up")
    func text() {
        let registry = MetricsRegistry()
        registry.counter("weft_requests_total", "Requests.\nAll of them.", labels: ["path"])["a\"b\\c\nd"].increment(
            by: 3)
        registry.gauge("weft_open", "Open connections.").set(2.5)
        let histogram = registry.histogram("weft_seconds", "Time.", labels: ["verb"], bounds: [0.1, 1])["GET"]
        for value in [0.05, 0.1, 0.5, 7] { histogram.observe(value) }
        registry.collect("weft_loops", "Loops.", labels: ["loop"]) { [.init(["0"], 4), .init(["1"], .infinity)] }
        #expect(
            String(decoding: registry.render(), as: UTF8.self) == """
                # HELP weft_loops Loops.
                # TYPE weft_loops gauge
                weft_loops{loop="0"} 4
                weft_loops{loop="1"} +Inf
                # HELP weft_open Open connections.
                # TYPE weft_open gauge
                weft_open 2.5
                # HELP weft_requests_total Requests.\\nAll of them.
                # TYPE weft_requests_total counter
                weft_requests_total{path="a\\"b\\\\c\\nd"} 3
                # HELP weft_seconds Time.
                # TYPE weft_seconds histogram
                weft_seconds_bucket{verb="GET",le="0.1"} 2
                weft_seconds_bucket{verb="GET",le="1"} 3
                weft_seconds_bucket{verb="GET",le="+Inf"} 4
                weft_seconds_sum{verb="GET"} 7.65
                weft_seconds_count{verb="GET"} 4

                """)
    }

    @Test("many threads lose no count")
    func threads() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("weft_total", "")
        let gauge = registry.gauge("weft_gauge", "")
        let histogram = registry.histogram("weft_histogram", "", bounds: [1, 2])
        await withTaskGroup(of: Void.self) { tasks in
            for _ in 0..<4 {
                tasks.addTask {
                    for number in 0..<10_000 {
                        counter.increment()
                        gauge.add(1)
                        histogram.observe(Double(number % 3))
                    }
                }
            }
        }
        #expect(counter.value == 40_000)
        #expect(gauge.value == 40_000)
        #expect(histogram.count == 40_000)
    }

    @Test("a label with endless values ends in one overflow series")
    func overflow() {
        let family = MetricsRegistry().counter("weft_total", "", labels: ["path"])
        for number in 0..<5000 { family["\(number)"].increment() }
        #expect(family.all.count == MetricFamily<Counter>.maximumSeries + 1)
        #expect(family["overflow"].value == UInt64(5000 - MetricFamily<Counter>.maximumSeries))
        #expect(family["7"].value == 1)
    }
}

@Suite struct LogTests {
    private func captured(_ level: Log.Level, _ format: Log.Format, _ body: (Log) -> Void) -> [String] {
        final class Box: Sendable {
            let lines = Mutex<[String]>([])
        }
        let box = Box()
        let log = Log(Log.Output { line in box.lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } })
        log.configure(level: level, format: format)
        body(log)
        return box.lines.withLock { $0 }
    }

    @Test("a text line has time, level, message and facts in order, quoted where they must be")
    func text() {
        let lines = captured(.info, .text) { log in
            log.debug("not written")
            log.with(["part": "dns"]).warning("took\nlong", ["name": "a b", "ms": "12", "q": "\"", "none": ""])
        }
        #expect(lines.count == 1)
        #expect(Timestamp(rfc3339: lines[0].prefix(24)) != nil)
        #expect(lines[0].dropFirst(24) == " WARNING took long part=dns name=\"a b\" ms=12 q=\"\\\"\" none=\"\"\n")
    }

    @Test("a JSON line is one object")
    func json() {
        let lines = captured(.debug, .json) { $0.debug("hello", ["key": "tab\t"]) }
        #expect(lines.count == 1)
        #expect(lines[0].hasPrefix("{\"ts\":\""))
        #expect(lines[0].hasSuffix("\",\"level\":\"debug\",\"msg\":\"hello\",\"key\":\"tab\\t\"}\n"))
    }

    @Test("a line has a longest length")
    func longest() {
        for format in [Log.Format.text, .json] {
            let lines = captured(.debug, format) {
                $0.info("big", ["a": String(repeating: "x", count: 100_000), "b": "y"])
            }
            #expect(lines[0].utf8.count <= Log.maximumLine + 16)
        }
    }
}
