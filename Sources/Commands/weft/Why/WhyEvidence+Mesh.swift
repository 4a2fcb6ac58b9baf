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
    /// The sidecar of a server takes what comes to this port.
    private var isServerMeshed: Bool { servers.contains(where: isCaptured) }
    /// The sender's sidecar takes what goes there.
    var isSourceMeshed: Bool {
        guard source.isMeshed, let plan = source.capture, let port = UInt16(exactly: destination.port) else {
            return source.isMeshed
        }
        var called = (destination.service?.spec.list("clusterIPs") ?? []).compactMap {
            $0.string.flatMap { IPAddress($0) }
        }
        if called.isEmpty {
            called = [destination.address, server.flatMap { IPAddress($0.status.text("podIP")) }].compactMap { $0 }
        }
        return called.isEmpty || called.contains { plan.capturesOutbound($0, port) }
    }

    private func isCaptured(_ server: KubeObject) -> Bool {
        guard server.isMeshed, let plan = server.capture, let port = UInt16(exactly: targetPort) else {
            return server.isMeshed
        }
        return plan.capturesInbound(port)
    }

    // MARK: Sidecars

    private var sidecarFinding: Finding {
        guard source.isMeshed || servers.contains(where: \.isMeshed) else {
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

    // MARK: Identity

    private var identityFinding: Finding {
        guard source.isMeshed || servers.contains(where: \.isMeshed) else {
            return Finding("identity", .neutral, "no sidecar, so none is proven")
        }
        guard source.isMeshed else {
            return Finding("identity", .neutral, "\(source.key) has no sidecar: it calls in plain text, as nobody")
        }
        guard isSourceMeshed else {
            return Finding(
                "identity", .neutral,
                "\(source.key) excludes \(destination) from its sidecar by an annotation: it calls in plain text, as nobody"
            )
        }
        guard isServerMeshed else {
            return Finding(
                "identity", .neutral,
                isPastSidecar
                    ? "port \(targetPort) of \(server?.key.description ?? "the server") is not captured: plain text"
                    : "no server has a sidecar: plain text")
        }
        guard mode != "DISABLE" else {
            return Finding("identity", .neutral, "mutual TLS is off at port \(targetPort): plain text, as nobody")
        }
        let lacking = servers.filter { !isCaptured($0) }.count
        let words =
            "mutual TLS, \(sourceIdentity ?? "an identity that is not known") to \(serverIdentity ?? "one that is not known")"
        return Finding(
            "identity", .good,
            lacking == 0
                ? [words] : [words, "\(lacking) of \(servers.count) servers have no sidecar: plain text to those"])
    }

    /// Servers have sidecars, which do not see what comes to this port.
    private var isPastSidecar: Bool { !isServerMeshed && servers.contains(where: \.isMeshed) }

    /// The caller shows a certificate.
    private var isProven: Bool { isSourceMeshed && isServerMeshed && mode != "DISABLE" }

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

    /// As the control plane tells it; nil where it does not.
    private var mode: String? {
        guard isServerMeshed, let workload else { return nil }
        let own = workload.text("portModes", "\(targetPort)")
        return own.isEmpty ? workload.text("mode") : own
    }

    private var modeFinding: Finding? {
        guard !isPastSidecar else {
            return Finding(
                "mode", .neutral,
                "port \(targetPort) is excluded from capture by an annotation of \(server?.key.description ?? "the server")",
                "its sidecar sees nothing of it: neither modes nor AuthorizationPolicies hold there")
        }
        guard isServerMeshed else { return nil }
        guard let workload, let mode else {
            return Finding("mode", .doubtful, "the control plane does not tell how \(destination) may be reached")
        }
        let decider = workload.text("portModesFrom", "\(targetPort)")
        var words = "\(mode) on port \(targetPort)" + (decider.isEmpty ? "" : " by PeerAuthentication \(decider)")
        if mode == "DISABLE", workload.text("mode") == "PERMISSIVE" {
            words += ": a server that speaks first takes plain text until it is STRICT"
        }
        if mode == "STRICT", !isSourceMeshed {
            let other = decider.isEmpty ? "PeerAuthentication of \(destination)" : "PeerAuthentication \(decider)"
            return Finding(
                "mode", .bad,
                "\(words): plain text is refused, and \(source.key) \(source.isMeshed ? "calls past its sidecar" : "has no sidecar")",
                remedy: source.isMeshed
                    ? "take \(destination) out of what annotations of \(source.key) exclude; or set \(other) to PERMISSIVE"
                    : "\(ProxyReport.howToInject); or set \(other) to PERMISSIVE")
        }
        return Finding("mode", .good, words)
    }

    private var authorizationFinding: Finding? {
        guard isServerMeshed, let workload else { return nil }
        let caller = AuthorizationCheck.Caller(
            principal: isProven ? sourceIdentity : nil, address: source.status.text("podIP"), port: targetPort)
        return AuthorizationCheck(workload.list("authorizationPolicies"), caller, isMeshed: isSourceMeshed).finding
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
        let now = Timestamp.now()
        var isRecent = false
        var lines: [String] = []
        for proxy in proxies {
            for failure in proxy.failures.filter({ $0.isFor(destination, servers) }).prefix(3) {
                lines.append("\(proxy.pod): \(failure.line)")
                if failure.time.map({ now.seconds - $0.seconds < Self.memory }) ?? true { isRecent = true }
            }
        }
        guard !lines.isEmpty else { return Finding("last errors", .good, "none that the sidecars remember") }
        return Finding(
            "last errors", isRecent ? .doubtful : .neutral,
            lines + ["all of one: weft proxy explain POD REQUEST-ID, which ends a line"])
    }

    /// Seconds after which a failure says nothing of now.
    private static let memory: Int64 = 300
}
