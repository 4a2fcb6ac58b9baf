/// The pages of profilers, which are not in this program: they answer as Envoy's do where it was built without them.
enum ProfilerPage {
    static let contention = AdminAnswer(
        "Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.")
    static let heap = AdminAnswer("The current build does not support heap profiler", status: 501)

    static func cpu(_ request: AdminRequest) -> AdminAnswer {
        switch request["enable"] {
        case "y": AdminAnswer("failure to start the profiler", status: 500)
        case "n": .ok
        default: AdminAnswer("?enable=<y|n>\n", status: 400)
        }
    }
}
