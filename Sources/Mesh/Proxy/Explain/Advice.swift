/// What somebody who looks for the cause would look at next.
enum Advice {
    static func about(_ record: borrowing RequestRecord) -> [String] {
        var advice: [String] = []
        let cluster = record.cluster?.name ?? ""
        let last = record.attempts.kept > 0 ? record.attempts[record.attempts.kept - 1].host : nil
        let host = last.map { "\($0)" } ?? "the host"
        func say(_ flag: ResponseFlags, _ text: String) { if record.flags.contains(flag) { advice.append(text) } }
        say(
            .noRouteFound,
            "the route configuration: /config_dump?resource=dynamic_route_configs, or the listener's own; domains are matched "
                + "against \"\(record.host.string)\", routes in their order.")
        say(.noClusterFound, "/clusters: the route names a cluster that is not there (yet).")
        say(
            .noHealthyUpstream,
            "/clusters?filter=^\(cluster)$: which hosts there are and why none is used (health_flags); "
                + "cluster.\(cluster).membership_healthy.")
        say(
            .upstreamConnectionFailure,
            "whether something listens at \(host), and whether a policy or firewall stands between; "
                + "cluster.\(cluster).upstream_cx_connect_fail and, for TLS, cluster.\(cluster).ssl.*.")
        say(
            .upstreamConnectionTermination,
            "the log of \(host): it closed the connection before its answer was complete. Does it close idle connections "
                + "sooner than the cluster's idle_timeout?")
        say(.upstreamRemoteReset, "the log of \(host): it reset the stream.")
        say(.upstreamProtocolError, "whether \(host) speaks the protocol that the cluster is configured for.")
        say(
            .upstreamOverflow,
            "circuit_breakers of cluster \"\(cluster)\": a limit was reached; cluster.\(cluster).circuit_breakers.*, "
                + "upstream_rq_pending_overflow, upstream_rq_retry_overflow.")
        say(
            .upstreamRequestTimeout,
            "how long \(host) takes, and the route's timeout (15 s where it says none) and per_try_timeout.")
        say(.upstreamRetryLimitExceeded, "why each attempt failed: num_retries were used up.")
        say(.streamIdleTimeout, "stream_idle_timeout: neither side sent anything for that long.")
        say(.durationTimeout, "max_stream_duration, which is over.")
        say(.downstreamConnectionTermination, "the client: it went away before its answer was complete.")
        say(.downstreamProtocolError, "the client: what it sent is no valid HTTP.")
        say(.faultInjected, "the fault filter: it answers so on purpose.")
        say(.delayInjected, "the fault filter: it waits on purpose.")
        say(.rateLimited, "the rate limits of the route and of its virtual host.")
        say(.rateLimitServiceError, "the rate limit service: it could not be asked.")
        say(.unauthorizedExternalService, "the authorization service: it said no, or could not be asked.")
        say(.failedLocalHealthCheck, "/healthcheck/ok (POST): somebody made health checks fail.")
        if advice.isEmpty, record.isLocalReply, record.status >= 400 {
            advice.append(
                "the filters of listener \"\(record.listener)\": this proxy answered itself, for the reason "
                    + "\(Explanation.details(record)).")
        }
        if advice.isEmpty, record.status >= 500 { advice.append("the log of \(host): the answer is its own.") }
        return advice
    }
}
