import Bytes
import ClusterAPI
import JSON
import TLS

/// What the mesh says of the way: control plane, and both proxies.
extension WhyEvidence {
    var meshFindings: [Finding] {
        var findings = [sidecarFinding]
        findings += routeFindings
        if let finding = hostFinding { findings.append(finding) }
        findings.append(identityFinding)
        findings += certificateFindings
        findings += [modeFinding, authorizationFinding, remarkFinding, errorFinding].compactMap { $0 }
        return findings
    }

    private var server: KubeObject? { servers.first { $0.isMeshed } ?? servers.first }
    private var isServerMeshed: Bool { servers.contains { $0.isMeshed } }

    // MARK: Sidecars

    private var sidecarFinding: Finding {
        guard source.isMeshed || isServerMeshed else {
            return Finding("mesh", .neutral, "no sidecar at either end: connections go as pods make them")
        }
        var sentences: [String] = []
        var remedy: String?
        var verdict = Finding.Verdict.good
        for (pod, proxy) in [(source, sourceProxy), (server, serverProxy)] {
            guard let pod else { continue }
            guard pod.isMeshed else {
                sentences.append("\(pod.key): no sidecar")
                continue
            }
            let told = proxies?.last { $0.text("namespace") == pod.namespace && $0.text("pod") == pod.name }
            let refused = (told?["resources"]?.object ?? [:]).compactMap { kind, state in
                state.text("status") == "ERROR" ? "\(kind): \(state.text("error"))" : nil
            }
            if let trouble = proxy?.trouble {
                verdict = .bad
                sentences.append("\(pod.key): its sidecar cannot be asked: \(trouble)")
                remedy = "see the sidecar: kubectl logs \(pod.name) -n \(pod.namespace) -c weft-proxy"
            } else if told == nil {
                if verdict == .good { verdict = .doubtful }
                sentences.append(
                    "\(pod.key): its sidecar has no stream to the control plane; it goes on with what it has")
            } else if !refused.isEmpty {
                verdict = .bad
                sentences.append("\(pod.key): its sidecar refused what it was sent")
                sentences += refused
                remedy = "change what the proxy refuses: \(refused[0])"
            } else {
                sentences.append("\(pod.key): its sidecar is connected and has what it should have")
            }
        }
        return Finding("mesh", verdict, sentences, remedy: remedy)
    }

    // MARK: Routes

    private var host: String? { destination.service.map { "\($0.name).\($0.namespace).svc.cluster.local" } }

    private var routeFindings: [Finding] {
        guard let service = destination.service else { return [] }
        let bound = routes.map { RouteView(object: $0) }.filter {
            $0.isOf(service.key, port: destination.port)
                && [service.namespace, source.namespace].contains($0.key.namespace)
        }
        var findings = bound.map { view -> Finding in
            let rules = view.rules.map { "\(RouteView.words(ofMatches: $0)) -> \(RouteView.words(ofBackends: $0))" }
            let fault = view.fault.isEmpty ? [] : ["fault on purpose: \(view.fault)"]
            guard view.isWell || view.conditions.isEmpty else {
                let why = view.conditions.filter { !$0.isTrue }.map { "\($0.type): \($0.reason) \($0.message)" }
                return Finding(
                    "route", .bad, ["\(view.object.kind) \(view.key) is not in force: \(view.state)"] + why + rules,
                    remedy: "mend \(view.object.kind) \(view.key): \(why.first ?? view.state)")
            }
            return Finding("route", .good, ["\(view.object.kind) \(view.key)"] + rules + fault)
        }
        if bound.isEmpty {
            findings.append(
                Finding("route", .neutral, "no HTTPRoute is for Service \(service.key): its own endpoints answer"))
        } else if sourceProxy == nil {
            findings.append(
                Finding(
                    "route", .doubtful, "\(source.key) has no sidecar, so no route of the Service is obeyed for it",
                    remedy: ProxyReport.howToInject))
        }
        if let proxied = proxyRouteFinding { findings.append(proxied) }
        return findings
    }

    /// What the sender's sidecar does, from its own table.
    private var proxyRouteFinding: Finding? {
        guard let tables = sourceProxy?.tables, let host else { return nil }
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

    private var hostFinding: Finding? {
        guard let tables = sourceProxy?.tables else { return nil }
        let names = clusters(in: tables)
        guard !names.isEmpty else { return nil }
        var sentences: [String] = []
        var dead: [String] = []
        for name in names {
            let hosts =
                tables.clusters.list("cluster_statuses").first { $0.text("name") == name }?
                .list("host_statuses").map(ProxyHost.init) ?? []
            let well = hosts.count { $0.isWell }
            if well == 0 { dead.append(name) }
            sentences.append("\(name): \(well) of \(hosts.count) healthy")
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

    // MARK: Identity

    private var identityFinding: Finding {
        guard source.isMeshed || isServerMeshed else {
            return Finding("identity", .neutral, "no sidecar, so none is proven")
        }
        guard source.isMeshed else {
            return Finding("identity", .neutral, "\(source.key) has no sidecar: it calls in plain text, as nobody")
        }
        guard isServerMeshed else { return Finding("identity", .neutral, "no server has a sidecar: plain text") }
        let lacking = servers.filter { !$0.isMeshed }.count
        let words =
            "mutual TLS, \(sourceIdentity ?? "an identity that is not known") to \(serverIdentity ?? "one that is not known")"
        return Finding(
            "identity", .good,
            lacking == 0
                ? [words] : [words, "\(lacking) of \(servers.count) servers have no sidecar: plain text to those"])
    }

    /// SPIFFE names, as the certificates have them.
    private var sourceIdentity: String? {
        sourceProxy?.tables?.identity?.alternativeNames.uris.first ?? Self.expected(source)
    }
    private var serverIdentity: String? {
        serverProxy?.tables?.identity?.alternativeNames.uris.first ?? server.map(Self.expected)
    }

    private static func expected(_ pod: KubeObject) -> String {
        let account = pod.spec.text("serviceAccountName")
        return "spiffe://cluster.local/ns/\(pod.namespace)/sa/\(account.isEmpty ? "default" : account)"
    }

    private var certificateFindings: [Finding] {
        [sourceProxy, serverProxy].compactMap { $0 }.compactMap { proxy -> Finding? in
            guard let tables = proxy.tables else { return nil }
            guard let certificate = tables.identity else {
                return Finding(
                    "certificate", .bad, "the sidecar of \(proxy.pod) has no certificate",
                    remedy:
                        "its node gets it from weft-control:15012; see the log of weft-node, and weft proxy config \(proxy.pod) secrets"
                )
            }
            let (now, end) = (Timestamp.now(), certificate.notAfter)
            let words = "\(proxy.pod): \(certificate.alternativeNames.uris.first ?? "-"), valid until \(end.rfc3339)"
            guard now < end else {
                return Finding(
                    "certificate", .bad, "\(words): EXPIRED",
                    remedy: "the node renews certificates at half their life: see whether it reaches weft-control:15012"
                )
            }
            guard certificate.notBefore <= now else {
                return Finding(
                    "certificate", .bad, "\(words), and not before \(certificate.notBefore.rfc3339)",
                    remedy: "the clocks of the control plane and of this machine disagree")
            }
            return Finding("certificate", .good, "\(words), serial \(certificate.serial)")
        }
    }

    // MARK: Who may

    /// The server's own port, which modes are about.
    private var targetPort: Int64 {
        destination.endpoints(slices).first?.port ?? destination.port
    }

    private var modeFinding: Finding? {
        guard isServerMeshed else { return nil }
        guard let workload else {
            return Finding("mode", .doubtful, "the control plane does not tell how \(destination) may be reached")
        }
        let own = workload.text("portModes", "\(targetPort)")
        let mode = own.isEmpty ? workload.text("mode") : own
        let words = "\(mode) on port \(targetPort)"
        if mode == "STRICT", !source.isMeshed {
            return Finding(
                "mode", .bad, "\(words): plain text is refused, and \(source.key) has no sidecar",
                remedy: "\(ProxyReport.howToInject); or set PeerAuthentication of \(destination) to PERMISSIVE")
        }
        return Finding("mode", .good, words)
    }

    private var authorizationFinding: Finding? {
        guard isServerMeshed, let workload else { return nil }
        let caller = AuthorizationCheck.Caller(
            principal: source.isMeshed ? sourceIdentity : nil, address: source.status.text("podIP"), port: targetPort)
        return AuthorizationCheck(workload.list("authorizationPolicies"), caller).finding
    }

    /// A policy that somebody wrote for the server and that does nothing may be why it is let in, or is not.
    private var remarkFinding: Finding? {
        guard let namespace = server?.namespace ?? destination.service?.namespace else { return nil }
        let own = remarks.filter { $0.isAbout([namespace]) }
        guard !own.isEmpty else { return nil }
        return Finding("idle policies", .neutral, own.map(\.sentence))
    }

    private var errorFinding: Finding? {
        let proxies = [sourceProxy, serverProxy].compactMap { $0 }
        guard !proxies.isEmpty else { return nil }
        let names = [destination.service?.name, destination.pod?.name].compactMap { $0 }
        // The server's proxy is asked by many; the client's tells all that it failed to reach.
        let lines = proxies.flatMap { proxy in
            proxy.failures.filter { line in names.contains { line.contains($0) } }.prefix(3).map {
                "\(proxy.pod): \($0)"
            }
        }
        guard !lines.isEmpty else { return Finding("last errors", .good, "none that the sidecars remember") }
        return Finding(
            "last errors", .doubtful, lines + ["all of one: weft proxy explain POD REQUEST-ID, which ends a line"])
    }
}
