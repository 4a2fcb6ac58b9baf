import JSON
import Testing

@testable import MeshControl

@Suite("Faults on purpose")
struct RouteFaultTests {
    @Test("an annotation is a filter's configuration on each of the route's routes, beside others")
    func translated() throws {
        let fault = try #require(RouteFault("abort=503:10%,delay=1500ms:50%"))
        var route: JSONObject = ["typed_per_filter_config": ["other": [:]]]
        fault.add(to: &route)
        let expected: JSONValue = [
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": ["http_status": 503, "percentage": ["numerator": 10, "denominator": "HUNDRED"]],
            "delay": ["fixed_delay": "1.500s", "percentage": ["numerator": 50, "denominator": "HUNDRED"]],
        ]
        #expect(route["typed_per_filter_config"]?["envoy.filters.http.fault"] == expected)
        #expect(route["typed_per_filter_config"]?["other"] != nil)
    }

    @Test(
        "what is of another form is no fault",
        arguments: [
            "", "abort", "abort=503", "abort=503:10", "abort=99:10%", "abort=503:101%", "abort=503:1%,abort=500:1%",
            "delay=0s:1%", "delay=x:1%", "other=1:1%", "abort=503:10%,",
        ])
    func refused(text: String) { #expect(RouteFault(text) == nil) }
}
