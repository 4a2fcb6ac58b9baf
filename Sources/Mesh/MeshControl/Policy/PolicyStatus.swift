import Bytes
import ClusterAPI
import JSON

// What the mesh says of its policies: whether they are enforced, and whether there is anybody for whom.
extension MeshModel {
    /// What has to be written of a policy; nil when it is as it should be.
    func policyStatus(_ target: MeshPolicyKey, now: Timestamp) -> StatusPatch? {
        switch target.kind {
        case .peers: policyStatus(world.policies.peers[target.key], now)
        case .authorization: policyStatus(world.policies.authorizations[target.key], now)
        case .requests: policyStatus(world.policies.requests[target.key], now)
        }
    }

    private func policyStatus<Policy: MeshPolicy>(_ stored: StoredPolicy<Policy>?, _ now: Timestamp) -> StatusPatch? {
        guard let stored else { return nil }
        let conditions = conditions(stored.policy).json(
            generation: stored.generation, after: stored.conditions, now: now,
            own: [PolicyReport.accepted.type, PolicyReport.effective])
        guard .array(stored.conditions) != conditions else { return nil }
        return StatusPatch(
            Policy.kind.resource, stored.policy.key, version: stored.resourceVersion,
            status: ["conditions": conditions, "observedGeneration": .int(stored.generation)])
    }

    private func conditions(_ policy: some MeshPolicy) -> [Condition] {
        let accepted = world.accepted(policy)
        guard accepted.holds else {
            return [accepted, Condition(PolicyReport.effective, false, "NotAccepted", accepted.message)]
        }
        return [accepted, world.effective(policy)]
    }
}

/// The words of statuses of policies.
enum PolicyReport {
    /// Whether somebody obeys the policy.
    static let effective = "weft.dev/Effective"
    static let accepted = Condition("Accepted", true, "Accepted", "the policy is in force")
}

extension MeshWorld {
    /// Whether it can be enforced as it is written. The reasons are the Gateway API's for policies (GEP-713).
    fileprivate func accepted(_ policy: some MeshPolicy) -> Condition {
        if let problem = policy.problem { return Condition("Accepted", false, "Invalid", problem) }
        if let peers = policy as? PeerAuthentication, let rival = policies.rival(of: peers) {
            return Condition(
                "Accepted", false, "Conflicted",
                "PeerAuthentication \(rival.key) is older and for the same workloads: it counts")
        }
        if let name = (policy as? AuthorizationPolicy)?.provider, provider(name) == nil {
            let places = MeshPolicies.rootNamespaces.sorted().joined(separator: " or ")
            let reason =
                settings.values.lazy.compactMap(\.problem).first
                ?? "nobody who authorizes is called \(name) in extensionProviders of ConfigMap \(MeshSettings.name) "
                + "(member \(MeshSettings.member)) in \(places)"
            return Condition("Accepted", false, "Invalid", "\(reason): what it would ask about is refused")
        }
        let missing = policy.scope.targets.filter { target in
            switch target {
            case .service(let key): services[key] == nil
            case .gateway(let key): gateways[key].map { !isOurs($0) } ?? true
            }
        }
        guard !missing.isEmpty, missing.count == policy.scope.targets.count else { return PolicyReport.accepted }
        let names = missing.map { target in
            switch target {
            case .service(let key): "there is no Service \(key)"
            case .gateway(let key): "there is no Gateway \(key) of a class of weft's"
            }
        }
        return Condition("Accepted", false, "TargetNotFound", names.joined(separator: "; "))
    }

    /// Whether somebody is there who obeys it.
    fileprivate func effective(_ policy: some MeshPolicy) -> Condition {
        func condition(_ holds: Bool, _ reason: String, _ message: String) -> Condition {
            Condition(PolicyReport.effective, holds, reason, message)
        }
        let scope = policy.scope
        var (isObeyed, isMissed) = (false, false)
        // Modes are the sidecars' affair: a Gateway's listeners say what is spoken there.
        if policy is PeerAuthentication == false {
            isObeyed = gateways.values.contains { isOurs($0) && isFor(scope, $0) }
        }
        for pod in scope.isMeshWide ? pods.all : pods.of(scope.namespace)
        where !pod.isOver && pod.labels[GatewayController.label] == nil && reach(scope, pod) != .none {
            if pod.isMeshed { isObeyed = true } else { isMissed = true }
            if isObeyed, isMissed { break }
        }
        let remedy = "label the namespace mesh.weft.dev/inject=enabled and start them anew"
        switch (isObeyed, isMissed) {
        case (false, false): return condition(false, "SelectsNothing", "\(scope.words): there is none")
        case (false, true):
            return condition(false, "NoSidecar", "\(scope.words) have no sidecar, so nobody obeys it: \(remedy)")
        case (true, true):
            return condition(true, "SomeWithoutSidecar", "of \(scope.words) some have no sidecar: \(remedy)")
        case (true, false): break
        }
        let checked = policies.requests.about(scope.namespace).contains { $0.problem == nil }
        if (policy as? AuthorizationPolicy)?.usesTokens == true, !checked {
            return condition(
                false, "TokensNotChecked",
                "it asks for what a token says, and there is no RequestAuthentication that checks any")
        }
        guard (policy as? AuthorizationPolicy)?.isDry != true else {
            return condition(
                true, "DryRun", "it is only counted (\(AuthorizationPolicy.dryRunAnnotation)): \(scope.words)")
        }
        return condition(true, "Enforced", scope.words)
    }
}

extension PolicyScope {
    /// Whom it is for.
    fileprivate var words: String {
        guard isBySelector else {
            return targets.map { target in
                switch target {
                case .service(let key): "the pods behind Service \(key)"
                case .gateway(let key): "Gateway \(key)"
                }
            }.joined(separator: ", ")
        }
        let place = isMeshWide ? "of all namespaces" : "of namespace \(namespace)"
        guard !selector.isEmpty else { return "the pods \(place)" }
        let labels = selector.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        return "the pods \(place) with \(labels)"
    }
}
