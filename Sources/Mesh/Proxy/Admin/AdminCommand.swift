/// A page of the admin port: where it is, what is said of it, and what it does.
struct AdminCommand: Sendable {
    let path: String
    let help: String
    /// Changes something, so it is asked for by POST.
    var mutates = false
    var parameters: [(name: String, help: String)] = []
    let answer: @Sendable (AdminRequest, AdminServer) async -> AdminAnswer

    /// In the order of `/help`.
    static let all: [AdminCommand] = [
        AdminCommand(path: "/", help: "Admin home page") { _, _ in home },
        AdminCommand(path: "/certs", help: "print certs on machine") { _, admin in await admin.certificates() },
        AdminCommand(
            path: "/clusters", help: "upstream cluster status",
            parameters: [
                ("format", "File format to use; One of (text, json)"),
                ("filter", "Regular expression (Google re2) for filtering clusters by name"),
            ]
        ) { request, admin in await admin.clusters(request) },
        AdminCommand(
            path: "/config_dump", help: "dump current configuration",
            parameters: [
                ("resource", "The resource to dump"),
                ("mask", "The fields that are told of each resource, or of the whole dump; a Protobuf::FieldMask"),
                ("name_regex", "Dump only the configurations whose names match the regular expression"),
                ("include_eds", "Dump endpoints, too"),
            ]
        ) { request, admin in await admin.configDump(request) },
        AdminCommand(path: "/contention", help: "dump current mutex contention stats (not supported)") { _, _ in
            ProfilerPage.contention
        },
        AdminCommand(
            path: "/cpuprofiler", help: "enable/disable the CPU profiler (not supported: use perf)", mutates: true,
            parameters: [("enable", "enables the CPU profiler; One of (y, n)")]
        ) { request, _ in ProfilerPage.cpu(request) },
        AdminCommand(
            path: "/drain_listeners", help: "drain listeners", mutates: true,
            parameters: [
                ("graceful", "Let connections end within the drain time before listeners close"),
                ("skip_exit", "Drain connections and keep the listeners"),
                ("inboundonly", "Only listeners whose traffic_direction is INBOUND"),
            ]
        ) { request, admin in await admin.drainListeners(request) },
        AdminCommand(
            path: "/explain", help: "say what happened to a request",
            parameters: [
                ("id", "Its x-request-id"), ("failed", "The last that failed, instead of those that went well"),
                ("count", "So many of them"),
            ]
        ) { request, admin in await admin.explain(request) },
        AdminCommand(path: "/healthcheck/fail", help: "cause the server to fail health checks", mutates: true) {
            _, admin in
            await admin.server.setHealthChecksFail(true)
            return .ok
        },
        AdminCommand(path: "/healthcheck/ok", help: "cause the server to pass health checks", mutates: true) {
            _, admin in
            await admin.server.setHealthChecksFail(false)
            return .ok
        },
        AdminCommand(
            path: "/heapprofiler", help: "enable/disable the heap profiler (not supported)", mutates: true,
            parameters: [("enable", "enable/disable the heap profiler; One of (y, n)")]
        ) { _, _ in ProfilerPage.heap },
        AdminCommand(path: "/help", help: "print out list of admin commands") { _, _ in AdminAnswer(helpText) },
        AdminCommand(path: "/hot_restart_version", help: "print the hot restart compatibility version") { _, _ in
            AdminAnswer("disabled")
        },
        AdminCommand(path: "/init_dump", help: "dump what initialization still waits for") { _, admin in
            await admin.initDump()
        },
        AdminCommand(
            path: "/listeners", help: "print listener info",
            parameters: [("format", "File format to use; One of (text, json)")]
        ) { request, admin in await admin.listeners(request) },
        AdminCommand(
            path: "/logging", help: "query/change logging levels", mutates: true,
            parameters: [
                ("paths", "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,..."),
                (
                    "level",
                    "desired logging level, this will change all loggers's level; One of (, trace, debug, info, "
                        + "warning, error, critical, off)"
                ),
            ]
        ) { request, _ in LoggingPage.answer(request) },
        AdminCommand(path: "/memory", help: "print current allocation/heap usage") { _, _ in
            ServerInfoPage.memory()
        },
        AdminCommand(path: "/quitquitquit", help: "exit the server", mutates: true) { _, admin in
            admin.quit()
            return .ok
        },
        AdminCommand(path: "/ready", help: "print server state, return 200 if LIVE, otherwise return 503") {
            _, admin in
            let state = await admin.server.state
            return AdminAnswer(state.rawValue + "\n", status: state == .live ? 200 : 503)
        },
        AdminCommand(path: "/reopen_logs", help: "reopen access logs", mutates: true) { _, admin in
            admin.server.logs.reopen()
            return .ok
        },
        AdminCommand(path: "/reset_counters", help: "reset all counters to zero", mutates: true) { _, admin in
            await admin.server.resetCounters()
            return .ok
        },
        AdminCommand(path: "/runtime", help: "print runtime values") { _, admin in
            .json(await admin.server.runtimePage)
        },
        AdminCommand(path: "/runtime_modify", help: "Adds or modifies runtime values", mutates: true) {
            request, admin in await admin.modifyRuntime(request)
        },
        AdminCommand(path: "/server_info", help: "print server version/status information") { _, admin in
            await admin.serverInfo()
        },
        AdminCommand(
            path: "/stats", help: "print server stats",
            parameters: [
                ("usedonly", "Only include stats that have been written by system since restart"),
                ("filter", "Regular expression (Google re2) for filtering stats"),
                ("invert_filter", "Invert the filter regex"),
                ("format", "Format to use; One of (text, json, prometheus)"),
                ("type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"),
                (
                    "histogram_buckets",
                    "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)"
                ),
            ]
        ) { request, admin in await admin.stats(request) },
        AdminCommand(
            path: "/stats/prometheus", help: "print server stats in prometheus format",
            parameters: [
                ("usedonly", "Only include stats that have been written by system since restart"),
                ("filter", "Regular expression (Google re2) for filtering stats"),
                ("invert_filter", "Invert the filter regex"),
                ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, summary)"),
            ]
        ) { request, admin in await admin.stats(request, as: .prometheus) },
        AdminCommand(
            path: "/tap", help: "tell requests as they end, a line of JSON each",
            parameters: [
                ("direction", "inbound or outbound"), ("method", "The method"), ("path", "The path's beginning"),
                ("host", "Part of the host"), ("status", "Like 503 or 5xx"), ("min_ms", "Only those that took so long"),
                ("peer", "Part of the other end's identity"), ("failed", "Only what did not go well"),
            ]
        ) { _, _ in AdminAnswer("this page is streamed", status: 400) },
    ]

    static let helpText: String = {
        var text = "admin commands are:\n"
        for command in all {
            text += "  \(command.path)\(command.mutates ? " (POST)" : ""): \(command.help)\n"
            for parameter in command.parameters { text += "      \(parameter.name): \(parameter.help)\n" }
        }
        return text
    }()

    /// A table of all pages: those that change something are buttons.
    private static let home: AdminAnswer = {
        var rows = ""
        for command in all where command.path != "/" {
            let link =
                command.mutates
                ? "<form action=\"\(command.path)\" method=\"post\"><button>\(command.path.dropFirst())</button></form>"
                : "<a href=\"\(command.path)\">\(command.path.dropFirst())</a>"
            rows += "<tr><td>\(link)</td><td>\(command.help)</td></tr>\n"
        }
        var answer = AdminAnswer(
            """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>weft-proxy</title></head>
            <body style="font-family: sans-serif"><h1>weft-proxy</h1>
            <table cellpadding="4">
            <tr><th align="left">Command</th><th align="left">Description</th></tr>
            \(rows)</table></body></html>

            """)
        answer.contentType = "text/html; charset=UTF-8"
        return answer
    }()
}
