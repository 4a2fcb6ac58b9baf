import Bytes
import JSON
import XDS

/// `/clusters`: every host of every cluster with its counters, as text or JSON.
struct ClustersPage: Sendable {
    let cluster: ClusterFacts
    let stats: [SocketAddress: HostStats]
    let observedName: String
    let isStatic: Bool

    var name: String { cluster.settings.name }

    private func limits(_ priority: RoutingPriority) -> [(name: String, value: Int64)] {
        let breakers = cluster.settings.breakers
        return [
            ("max_connections", Int64(breakers.limit(.connections, priority))),
            ("max_pending_requests", Int64(breakers.limit(.pendingRequests, priority))),
            ("max_requests", Int64(breakers.limit(.requests, priority))),
            ("max_retries", Int64(breakers.limit(.retries, priority))),
        ]
    }

    // MARK: Text

    var text: String {
        var out = "\(name)::observability_name::\(observedName)\n"
        for (label, priority) in [("default_priority", RoutingPriority.default), ("high_priority", .high)] {
            for limit in limits(priority) { out += "\(name)::\(label)::\(limit.name)::\(limit.value)\n" }
        }
        out += "\(name)::added_via_api::\(!isStatic)\n"
        for host in cluster.hosts.hosts { out += text(host) }
        return out
    }

    private func text(_ host: Host) -> String {
        let start = "\(name)::\(host.address)::"
        let place = cluster.hosts.places[Int(host.place)]
        let stats = stats[host.address] ?? HostStats()
        let lines: [(String, String)] = [
            ("cx_active", "\(stats.activeConnections)"), ("cx_connect_fail", "\(stats.connectFailures)"),
            ("cx_total", "\(stats.connections)"), ("rq_active", "\(stats.activeRequests)"),
            ("rq_error", "\(stats.errors)"), ("rq_success", "\(stats.successes)"),
            ("rq_timeout", "\(stats.timeouts)"), ("rq_total", "\(stats.requests)"), ("hostname", host.hostname),
            ("health_flags", host.health.flagText), ("weight", "\(host.weight)"), ("region", place.locality.region),
            ("zone", place.locality.zone), ("sub_zone", place.locality.subZone),
            ("canary", "\(host.marks.contains(.canary))"), ("priority", "\(place.priority)"),
        ]
        return lines.map { "\(start)\($0.0)::\($0.1)\n" }.joined()
    }

    // MARK: JSON

    var json: JSONValue {
        func breakers(_ priority: RoutingPriority) -> JSONValue {
            var object = JSONObject(limits(priority).map { ($0.name, JSONValue.int($0.value)) })
            if priority == .high { object["priority"] = "HIGH" }
            return .object(object)
        }
        var status: JSONObject = [
            "name": .string(name), "observability_name": .string(observedName),
            "host_statuses": .array(cluster.hosts.hosts.map(json)),
            "circuit_breakers": ["thresholds": [breakers(.default), breakers(.high)]],
        ]
        if !isStatic { status["added_via_api"] = true }
        return .object(status)
    }

    private func json(_ host: Host) -> JSONValue {
        func metric(_ name: String, _ value: Int64, isGauge: Bool = false) -> JSONValue {
            // Zeros go without saying in protobuf's JSON.
            var object: JSONObject = ["name": .string(name)]
            if isGauge { object["type"] = "GAUGE" }
            if value != 0 { object["value"] = .string("\(value)") }
            return .object(object)
        }
        let place = cluster.hosts.places[Int(host.place)]
        let stats = stats[host.address] ?? HostStats()
        var locality: JSONObject = [:]
        if !place.locality.region.isEmpty { locality["region"] = .string(place.locality.region) }
        if !place.locality.zone.isEmpty { locality["zone"] = .string(place.locality.zone) }
        if !place.locality.subZone.isEmpty { locality["sub_zone"] = .string(place.locality.subZone) }
        var status: JSONObject = [
            "address": host.address.envoyJSON,
            "stats": [
                metric("cx_connect_fail", Int64(clamping: stats.connectFailures)),
                metric("cx_total", Int64(clamping: stats.connections)),
                metric("rq_error", Int64(clamping: stats.errors)),
                metric("rq_success", Int64(clamping: stats.successes)),
                metric("rq_timeout", Int64(clamping: stats.timeouts)),
                metric("rq_total", Int64(clamping: stats.requests)),
                metric("cx_active", stats.activeConnections, isGauge: true),
                metric("rq_active", stats.activeRequests, isGauge: true),
            ],
            "health_status": host.health.envoyJSON, "weight": .int(Int64(host.weight)), "locality": .object(locality),
        ]
        if !host.hostname.isEmpty { status["hostname"] = .string(host.hostname) }
        if place.priority != 0 { status["priority"] = .int(Int64(place.priority)) }
        return .object(status)
    }
}

extension HostHealth {
    private static let flags: [(HostHealth, String)] = [
        (.failedActiveCheck, "failed_active_hc"), (.ejected, "failed_outlier_check"), (.unhealthy, "failed_eds_health"),
        (.degradedActiveCheck, "degraded_active_hc"), (.degraded, "degraded_eds_health"),
        (.pendingRemoval, "pending_dynamic_removal"), (.pendingFirstCheck, "pending_active_hc"),
        (.activeCheckTimedOut, "active_hc_timeout"),
    ]

    /// `healthy`, or `/failed_active_hc/failed_outlier_check` and so on.
    fileprivate var flagText: String {
        let text = Self.flags.filter { contains($0.0) }.map { "/" + $0.1 }.joined()
        return text.isEmpty ? "healthy" : text
    }

    /// As `envoy.admin.v3.HostHealthStatus`.
    fileprivate var envoyJSON: JSONValue {
        var object: JSONObject = [:]
        for (flag, name) in [
            (HostHealth.failedActiveCheck, "failed_active_health_check"), (.ejected, "failed_outlier_check"),
            (.degradedActiveCheck, "failed_active_degraded_check"), (.pendingRemoval, "pending_dynamic_removal"),
            (.pendingFirstCheck, "pending_active_hc"), (.activeCheckTimedOut, "active_hc_timeout"),
        ] where contains(flag) {
            object[name] = true
        }
        let eds: String =
            if contains(.unhealthy) { "UNHEALTHY" } else if contains(.draining) {
                "DRAINING"
            } else if contains(.timedOut) { "TIMEOUT" } else if contains(.degraded) { "DEGRADED" } else { "HEALTHY" }
        object["eds_health_status"] = .string(eds)
        return .object(object)
    }
}

extension AdminServer {
    func clusters(_ request: AdminRequest) async -> AdminAnswer {
        var filter: Regex?
        if let pattern = request["filter"] {
            do { filter = try Regex(pattern) } catch {
                return AdminAnswer("Invalid re2 regex: \(error)\n", status: 400)
            }
        }
        let pages = await server.clusterPages().filter { page in
            guard let filter else { return true }
            var name = page.name
            return name.withUTF8 { filter.finds(UnsafeRawBufferPointer($0)) }
        }
        guard request["format"] == "json" else { return AdminAnswer(pages.map(\.text).joined()) }
        return .json(JSONValue.object(["cluster_statuses": .array(pages.map(\.json))]).adminText)
    }
}

extension ProxyServer {
    fileprivate func clusterPages() async -> [ClustersPage] {
        let counted = Self.clusters(await tallies())
        return await clusterFacts().map { known in
            let facts = known.knowing(counted[known.settings.id])
            let hosts = counted[facts.settings.id]?.hosts ?? []
            let alternative =
                (try? (resources[.cluster, facts.settings.name] ?? dynamic[.cluster, facts.settings.name])?.message())?
                .json()["alt_stat_name"]?
                .string
            return ClustersPage(
                cluster: facts, stats: Dictionary(hosts.map { ($0.address, $0.stats) }) { first, _ in first },
                observedName: alternative ?? facts.settings.name,
                isStatic: record[.cluster, facts.settings.name]?.isStatic ?? true)
        }
    }
}
