import Bytes
import ClusterAPI
import JSON
import Policy
import ServiceProxy

/// What Kubernetes says of the way: there is a mesh or not.
extension WhyEvidence {
    var clusterFindings: [Finding] {
        [sourceFinding, nameFinding, dnsFinding, policyFinding, kernelFinding, endpointFinding].compactMap { $0 }
    }

    private var sourceFinding: Finding {
        let address = source.status.text("podIP")
        let words = "pod \(source.key) (\(address.isEmpty ? "no address" : address)) on \(source.spec.text("nodeName"))"
        guard source.isReady else {
            let phase = source.status.text("phase")
            return Finding(
                "source", address.isEmpty ? .bad : .doubtful, "\(words) is not Ready (\(phase))",
                remedy: "bring pod \(source.key) up first: kubectl describe pod \(source.name) -n \(source.namespace)")
        }
        return Finding("source", .good, words)
    }

    private var host: String? { destination.service.map { "\($0.name).\($0.namespace).svc.cluster.local" } }

    private var nameFinding: Finding? {
        if let address = destination.address {
            let name = policies.name(of: policies.party(at: address))
            let who = name == "\(address)" ? "neither a Service nor a pod has it" : "it is \(name)'s"
            return Finding("name", .neutral, "\(address) is an address, and no name is looked up; \(who)")
        }
        guard let service = destination.service, let host else {
            let address = destination.pod?.status.text("podIP") ?? ""
            guard !address.isEmpty else {
                return Finding("name", .bad, "pod \(destination) has no address", remedy: "bring the pod up first")
            }
            return Finding("name", .neutral, "a pod's own address, \(address); no name is looked up")
        }
        if service.spec.text("type") == "ExternalName" {
            return Finding("name", .neutral, "\(host) is an alias of \(service.spec.text("externalName")), outside")
        }
        let addresses = service.spec.list("clusterIPs").compactMap(\.string)
        if addresses == ["None"] {
            return Finding("name", .neutral, "\(host) is headless: its record is the endpoints' own addresses")
        }
        guard !addresses.isEmpty else {
            return Finding(
                "name", .bad, "Service \(service.key) has no address",
                remedy: "see why none was allocated: kubectl describe service \(service.name)")
        }
        return Finding("name", .good, "\(host) is \(addresses.joined(separator: ", "))")
    }

    /// Whether names can be looked up at all: the cluster's DNS, and the policies on the way to it.
    private var dnsFinding: Finding? {
        guard destination.service != nil else { return nil }
        guard let dns = services.first(where: { $0.namespace == "kube-system" && $0.name == "kube-dns" }) else {
            return Finding(
                "cluster DNS", .neutral, "there is no Service kube-system/kube-dns; who answers names is not known")
        }
        let ready =
            (try? WhyDestination(
                "kube-system/service/kube-dns:53", namespace: "", fallback: "", services: services, pods: []))
            .map { $0.endpoints(slices).filter(\.isReady) } ?? []
        guard !ready.isEmpty else {
            return Finding(
                "cluster DNS", .bad, "no endpoint of Service \(dns.key) is ready, so no name is found",
                remedy: "look at the pods of kube-system with k8s-app=kube-dns")
        }
        guard let client = sourceParties.first else { return nil }
        let evaluator = policies.evaluator()
        for endpoint in ready {
            guard let address = IPAddress(endpoint.address), address.family == client.address.family else { continue }
            let answer = evaluator.answer(
                from: client, to: policies.party(at: address),
                PolicyEvaluator.Traffic(.udp, Port(UInt16(endpoint.port))))
            guard !answer.isAllowed else { continue }
            let verdict = answer.egress.isDenied ? answer.egress : answer.ingress
            return Finding(
                "cluster DNS", .bad, "\(source.key) may not ask it: \(verdict.words)",
                remedy: "allow \(source.key) egress to kube-system pods k8s-app=kube-dns on UDP and TCP 53")
        }
        return Finding(
            "cluster DNS", .good, "\(dns.key) has \(ready.count) ready, and policies let \(source.name) ask it")
    }

    private var sourceParties: [PolicyCluster.Party] {
        (try? policies.parties("\(source.key)", namespace: source.namespace)) ?? []
    }

    // MARK: NetworkPolicy

    /// Whom policies see: pods with their own ports, whatever the Service calls them.
    private var judged: [(PolicyCluster.Party, PolicyCluster.Traffic)] {
        let transport = Transport(destination.portSpec.text("protocol")) ?? .tcp
        if let address = destination.address, let port = UInt16(exactly: destination.port) {
            return [(policies.party(at: address), PolicyCluster.Traffic(.tcp, Port(port)))]
        }
        let ends =
            destination.pod.map { [(address: $0.status.text("podIP"), port: destination.port)] }
            ?? destination.endpoints(slices).map { (address: $0.address, port: $0.port) }
        return ends.compactMap { end in
            guard let address = IPAddress(end.address), let port = UInt16(exactly: end.port) else { return nil }
            return (policies.party(at: address), PolicyCluster.Traffic(transport, Port(port)))
        }
    }

    private var policyFinding: Finding {
        let destinations = judged
        let evaluator = policies.evaluator()
        var denied: [(String, PolicyEvaluator.Verdict, Bool)] = []
        var reasons: [String] = []
        for (server, traffic) in destinations {
            for client in sourceParties where client.address.family == server.address.family {
                let answer = evaluator.answer(from: client, to: server, traffic)
                let name = policies.name(of: server)
                if !answer.isAllowed {
                    denied.append(
                        (name, answer.egress.isDenied ? answer.egress : answer.ingress, answer.egress.isDenied))
                }
                for sentence in [
                    "out of \(source.key): \(answer.egress.words)", "into \(name): \(answer.ingress.words)",
                ] where !reasons.contains(sentence) { reasons.append(sentence) }
            }
        }
        guard !destinations.isEmpty else { return Finding("NetworkPolicy", .neutral, "no pod to judge for") }
        let total = Set(destinations.map { policies.name(of: $0.0) }).count
        guard let (name, verdict, isOut) = denied.first else {
            return Finding("NetworkPolicy", .good, ["allowed"] + Self.shortened(reasons))
        }
        let names = verdict.policies.map { "\($0)" }.joined(separator: ", ")
        let remedy =
            isOut
            ? "let egress of \(source.key) to \(name) through, or change \(names)"
            : "let ingress from \(source.key) into \(name) on port \(destinations[0].1.port) through, or change \(names)"
        let count = Set(denied.map(\.0)).count
        return Finding(
            "NetworkPolicy", .bad,
            ["DENIED \(count == total ? "" : "to \(count) of \(total) pods ")by \(names)"] + Self.shortened(reasons),
            remedy: remedy + " (weft policy check says more)")
    }

    private static func shortened(_ sentences: [String]) -> [String] {
        sentences.count <= 4
            ? sentences : sentences.prefix(4) + ["… and \(sentences.count - 4) more (weft policy check)"]
    }

    // MARK: Service proxy

    /// The rule and the element that the packet meets where nobody captures it.
    private var kernelFinding: Finding? {
        guard let service = destination.service, service.spec.text("type") != "ExternalName",
            service.spec.text("clusterIP") != "None"
        else { return nil }
        do {
            let question = TraceQuestion(
                .pod(source.key), to: "\(service.key):\(destination.port)", nil, on: nil, namespace: service.namespace)
            let resolved = try question.resolve(in: trace.cluster)
            let configuration = try trace.configuration(of: resolved.node)
            let tracer = trace.cluster.tracer(
                configuration, addresses: Set(trace.cluster.addresses(of: resolved.node)))
            let answer = tracer.trace(resolved.packet(configuration))
            let lines = answer.lines(names: trace.cluster.name(of:)).map { $0.drop { $0 == " " } }.map(String.init)
            let words = sourceProxy == nil ? "" : " (the sidecar chooses before it; this is for what is not captured)"
            let outcome = Array(lines.prefix { $0 != "why:" })
            var finding =
                answer.arrives
                ? Finding("service proxy", .good, ["on \(resolved.node)\(words)"] + outcome)
                : Finding(
                    "service proxy", .bad, ["the packet arrives nowhere"] + outcome,
                    remedy: "weft service trace --from pod \(source.key) \(service.key):\(destination.port) says more")
            // What decides is an element of a set; the rules that ask for it are the same for all Services.
            finding.sentences += answer.elements.prefix(2)
            finding.details = Array(lines.dropFirst(outcome.count + 1))
            return finding
        } catch {
            return Finding("service proxy", .doubtful, "cannot be worked out: \(error)")
        }
    }

    // MARK: Endpoints

    private var endpointFinding: Finding? {
        guard let service = destination.service, service.spec.text("type") != "ExternalName" else { return nil }
        let all = destination.endpoints(slices)
        let usable = all.filter { $0.isReady }
        func words(_ endpoint: WhyDestination.Endpoint) -> String {
            let state = endpoint.isTerminating ? "terminating" : endpoint.isReady ? "ready" : "NOT READY"
            return "\(endpoint.pod.isEmpty ? "" : endpoint.pod + " ")\(endpoint.address):\(endpoint.port) \(state)"
        }
        guard !usable.isEmpty else {
            let selector = service.spec["selector"]?.stringMap ?? [:]
            let chosen = pods.filter { pod in
                !selector.isEmpty && pod.namespace == service.namespace
                    && selector.allSatisfy { pod.label($0.key) == $0.value }
            }
            let labels = selector.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: ",")
            let remedy =
                chosen.isEmpty
                ? "no pod has the labels \(labels) that Service \(service.key) selects: give them to pods, or change the selector"
                : "none of the \(chosen.count) pods that Service \(service.key) selects is ready: kubectl get pods -n "
                    + "\(service.namespace) -l \(labels)"
            return Finding(
                "endpoints", .bad, ["Service \(service.key) has no endpoint that is ready"] + all.prefix(8).map(words),
                remedy: remedy)
        }
        let more = all.count > 8 ? ["… and \(all.count - 8) more"] : []
        if let sentence = undeclaredPort {
            return Finding(
                "endpoints", .doubtful,
                ["\(usable.count) of \(all.count) ready"] + all.prefix(8).map(words) + more + [sentence],
                remedy: "see whether targetPort of Service \(service.key) is where its pods listen: \(sentence)")
        }
        return Finding("endpoints", .good, ["\(usable.count) of \(all.count) ready"] + all.prefix(8).map(words) + more)
    }

    /// Containers need not tell of their ports, but those that tell of others seldom listen there.
    private var undeclaredPort: String? {
        for server in servers {
            guard let port = destination.endpoints(slices).first(where: { $0.pod == server.name })?.port else {
                continue
            }
            let declared = server.spec.list("containers").flatMap { $0.list("ports") }.compactMap {
                $0["containerPort"]?.int
            }
            guard !declared.isEmpty, !declared.contains(port) else { continue }
            let others = declared.map { "\($0)" }.joined(separator: ", ")
            return "no container of \(server.key) tells of port \(port), only of \(others)"
        }
        return nil
    }
}
