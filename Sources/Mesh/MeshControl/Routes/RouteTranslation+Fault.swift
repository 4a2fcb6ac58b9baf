import ClusterAPI
import JSON

/// Faults that a route's requests meet on purpose: the Gateway API has no field for them, so they are an annotation of the route,
/// `abort=503:10%,delay=2s:50%` (`weft route fault` writes it). The proxy of whoever calls makes them.
struct RouteFault: Hashable, Sendable {
    static let annotation = "mesh.weft.dev/fault"
    static let filter = "envoy.filters.http.fault"

    struct Abort: Hashable {
        var status: Int64
        var percent: Int64
    }
    struct Delay: Hashable {
        var milliseconds: Int64
        var percent: Int64
    }

    private(set) var abort: Abort?
    private(set) var delay: Delay?

    /// Nil where the text is of another form: a fault that nobody meant is worse than none.
    init?(_ text: String) {
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "=", omittingEmptySubsequences: false)
            guard halves.count == 2 else { return nil }
            let values = halves[1].split(separator: ":", omittingEmptySubsequences: false)
            guard values.count == 2, values[1].hasSuffix("%"), let percent = Int64(values[1].dropLast()),
                (0...100).contains(percent)
            else { return nil }
            switch halves[0] {
            case "abort":
                guard abort == nil, let status = Int64(values[0]), (200...599).contains(status) else { return nil }
                abort = Abort(status: status, percent: percent)
            case "delay":
                guard delay == nil, let time = GatewayDuration(String(values[0]))?.milliseconds, time > 0 else {
                    return nil
                }
                delay = Delay(milliseconds: time, percent: percent)
            default: return nil
            }
        }
    }

    /// For a route's `typed_per_filter_config`.
    private var config: JSONValue {
        func share(_ percent: Int64) -> JSONValue { ["numerator": .int(percent), "denominator": "HUNDRED"] }
        var fault: JSONObject = ["@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"]
        if let abort { fault["abort"] = ["http_status": .int(abort.status), "percentage": share(abort.percent)] }
        if let delay {
            let rest = String(delay.milliseconds % 1000)
            let seconds = "\(delay.milliseconds / 1000).\(String(repeating: "0", count: 3 - rest.utf8.count))\(rest)s"
            fault["delay"] = ["fixed_delay": .string(seconds), "percentage": share(delay.percent)]
        }
        return .object(fault)
    }

    func add(to route: inout JSONObject) {
        var filters = route["typed_per_filter_config"]?.object ?? JSONObject()
        filters[Self.filter] = config
        route["typed_per_filter_config"] = .object(filters)
    }
}
