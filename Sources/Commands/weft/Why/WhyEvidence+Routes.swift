import ClusterAPI
import JSON

/// Where routes lead: as they are written, and as the sender's sidecar has them.
extension WhyEvidence {
    private var host: String? { destination.service.map { "\($0.name).\($0.namespace).svc.cluster.local" } }

    var routeFindings: [Finding] {
        guard let service = destination.service else {
            guard destination.address != nil, isSourceMeshed else { return [] }
            return [Finding("route in sidecar", .neutral, "the sidecar passes on as it is what is no Service's")]
        }
        let bound = routes.map { RouteView(object: $0) }.filter {
            $0.isOf(service.key, port: destination.port)
                && [service.namespace, source.namespace].contains($0.key.namespace)
        }
        var findings = bound.map(finding)
        if !hidden.isEmpty {
            findings.append(
                Finding(
                    "route", .doubtful, "you may not list \(hidden.joined(separator: " and "))",
                    remedy: Refusal.howToBeAllowed))
        } else if bound.isEmpty {
            findings.append(
                Finding("route", .neutral, "no HTTPRoute is for Service \(service.key): its own endpoints answer"))
        } else if !isSourceMeshed {
            findings.append(
                Finding(
                    "route", .doubtful,
                    "\(source.key) calls by no sidecar, so no route of the Service is obeyed for it",
                    remedy: ProxyReport.howToInject))
        }
        if let proxied = proxyRouteFinding { findings.append(proxied) }
        return findings
    }

    private func finding(for view: RouteView) -> Finding {
        let name = "\(view.object.kind) \(view.key)"
        let rules = view.rules.map { "\(RouteView.words(ofMatches: $0)) -> \(RouteView.words(ofBackends: $0))" }
        guard view.isWell || view.conditions.isEmpty else {
            let why = view.against.map { "\($0.type): \($0.reason) \($0.message)" }
            let remedy = "mend \(name): \(why.first ?? view.state)"
            // What leads nowhere takes down the requests of its own rules, and no others.
            if view.isAccepted, view.rules.contains(where: { leadsSomewhere($0, view) }) {
                return Finding(
                    "route", .doubtful, ["\(name) is not wholly in force: \(view.state)"] + why + rules, remedy: remedy)
            }
            return Finding("route", .bad, ["\(name) is not in force: \(view.state)"] + why + rules, remedy: remedy)
        }
        guard !view.fault.isEmpty, isSourceMeshed else { return Finding("route", .good, [name] + rules) }
        let isAlways = view.fault.split(separator: ",").contains { $0.hasPrefix("abort=") && $0.hasSuffix(":100%") }
        return Finding(
            "route", isAlways ? .bad : .doubtful, [name] + rules + ["fault on purpose: \(view.fault)"],
            remedy: "weft route fault \(view.key) --off ends the fault that \(name) makes on purpose")
    }

    /// One of the rule's backends is there, as far as the Services tell.
    private func leadsSomewhere(_ rule: JSONValue, _ view: RouteView) -> Bool {
        let backends = RouteView.Backend.all(of: rule)
        guard !backends.isEmpty else { return !rule.list("filters").isEmpty }
        let isBarred = view.against.contains { $0.reason == "RefNotPermitted" }
        return backends.contains { backend in
            let namespace = backend.namespace.isEmpty ? view.key.namespace : backend.namespace
            return backend.weight > 0 && !(isBarred && namespace != view.key.namespace)
                && services.contains { $0.namespace == namespace && $0.name == backend.name }
        }
    }

    /// What the sender's sidecar does, from its own table.
    private var proxyRouteFinding: Finding? {
        guard isSourceMeshed, let tables = sourceProxy?.tables, let host else { return nil }
        guard let table = tables.routeTables.first(where: { $0.text("name") == "\(host):\(destination.port)" }) else {
            let sentence =
                if !clusters(in: tables).isEmpty {
                    "\(host):\(destination.port) is passed on as TCP"
                } else if tables.asksForListeners, !isEnvoy(source) {
                    "\(host):\(destination.port) is on demand: the sidecar asks for it with the first call"
                } else { "the sidecar knows no \(host):\(destination.port), and passes it through" }
            return Finding("route in sidecar", .neutral, sentence)
        }
        let hosts = table.list("virtual_hosts")
        let routes = hosts.flatMap { $0.list("routes") }
        guard !routes.isEmpty else {
            return Finding(
                "route in sidecar", .bad, "table \(table.text("name")) has no route: requests are answered with 404",
                remedy: "see the HTTPRoutes of Service \(destination): weft route list -o wide")
        }
        return Finding(
            "route in sidecar", .good,
            routes.prefix(6).map { "\(RouteWords.match($0["match"] ?? .null)) -> \(RouteWords.action($0))" })
    }

    /// One of another make, which is told of everything.
    private func isEnvoy(_ pod: KubeObject) -> Bool {
        proxies?.last { $0.text("namespace") == pod.namespace && $0.text("pod") == pod.name }?.text("agent") == "envoy"
    }

    /// Clusters that the way may take: the Service's own, and those that its routes name.
    private func clusters(in tables: ProxyTables) -> [String] {
        guard let host else { return [] }
        var names: [String] = []
        for table in tables.routeTables where table.text("name") == "\(host):\(destination.port)" {
            for route in table.list("virtual_hosts").flatMap({ $0.list("routes") }) {
                let action = route["route"] ?? .null
                names += [action.text("cluster")] + action.list("weighted_clusters", "clusters").map { $0.text("name") }
            }
        }
        // Without a table of its own the Service's cluster is all there is.
        if names.allSatisfy(\.isEmpty) { names = ["outbound|\(destination.port)||\(host)"] }
        let known = Set(tables.clusters.list("cluster_statuses").map { $0.text("name") })
        return Array(Set(names)).filter { known.contains($0) }.sorted()
    }

    var hostFinding: Finding? {
        guard isSourceMeshed, let tables = sourceProxy?.tables else { return nil }
        let names = clusters(in: tables)
        guard !names.isEmpty else { return nil }
        var sentences: [String] = []
        var dead: [String] = []
        for name in names {
            let hosts =
                tables.clusters.list("cluster_statuses").first { $0.text("name") == name }?
                .list("host_statuses").map(ProxyHost.init) ?? []
            let well = hosts.count { $0.isWell }
            // Who is called by the pods' own addresses is known while somebody calls.
            if ClusterName(name)?.subset == "direct" {
                sentences.append("\(name): each pod by its own address")
            } else {
                if well == 0 { dead.append(name) }
                sentences.append("\(name): \(well) of \(hosts.count) healthy")
            }
            sentences += hosts.prefix(6).map { host in
                "  \(host.address) \(host.health), \(host.count("rq_total")) requests, \(host.count("rq_error")) errors"
            }
        }
        guard dead.isEmpty else {
            return Finding(
                "hosts in sidecar", .bad, sentences,
                remedy:
                    "the sidecar of \(source.key) has no healthy host for \(dead.joined(separator: ", ")): see why they are ejected or gone"
            )
        }
        return Finding("hosts in sidecar", .good, sentences)
    }
}
