import Bytes
import ClusterAPI
import JSON

/// A status that has to be written: a merge patch of the object as it was seen.
struct StatusPatch: Sendable {
    var resource: GroupVersionResource
    var key: ObjectKey
    var patch: JSONValue

    /// - Parameter version: Of the object that the status was compared with: an answer to another would overwrite what somebody else
    ///   wrote since.
    init(_ resource: GroupVersionResource, _ key: ObjectKey, version: String, status: JSONValue) {
        self.resource = resource
        self.key = key
        patch = ["metadata": ["resourceVersion": .string(version)], "status": status]
    }
}

/// What proxies have refused, in their own words.
struct ProxyRefusals {
    /// By Gateway.
    var gateways: [ObjectKey: String] = [:]
    /// By the name of a Service's route configuration.
    var tables: [String: String] = [:]
}

extension MeshModel {
    /// What has to be written of something; nil when it is as it should be.
    func status(_ target: StatusTarget, _ refusals: ProxyRefusals, now: Timestamp) -> StatusPatch? {
        switch target {
        case .gatewayClass(let name): classStatus(name, now)
        case .gateway(let key): gatewayStatus(key, refusals, now)
        case .route(let key): routeStatus(key, refusals, now)
        case .policy(let key): policyStatus(key, now)
        case .ingress(let key): ingressStatus(key)
        case .listenerSet(let key): listenerSetStatus(key, refusals, now)
        case .meshPolicy(let key): policyStatus(key, now: now)
        }
    }

    private func classStatus(_ name: String, _ now: Timestamp) -> StatusPatch? {
        guard let gatewayClass = world.classes[name], gatewayClass.isOurs else { return nil }
        let accepted =
            gatewayClass.hasParameters
            ? Condition("Accepted", false, "InvalidParameters", "parametersRef is not supported")
            : Condition("Accepted", true, "Accepted", "gateways of this class are run by weft-control")
        let conditions = [accepted].json(
            generation: gatewayClass.generation, after: gatewayClass.status.list("conditions"), now: now)
        let features = JSONValue.array(GatewayFeatures.supported.sorted().map { ["name": .string($0)] })
        guard
            gatewayClass.status["conditions"] != conditions || gatewayClass.status["supportedFeatures"] != features
        else { return nil }
        return StatusPatch(
            GroupVersionResource(group: RouteKind.group, resource: "gatewayclasses"), ObjectKey(name: name),
            version: gatewayClass.resourceVersion, status: ["conditions": conditions, "supportedFeatures": features])
    }

    // MARK: Gateways

    private func gatewayStatus(_ key: ObjectKey, _ refusals: ProxyRefusals, _ now: Timestamp) -> StatusPatch? {
        guard let gateway = world.gateways[key], let state = gateways.states[key] else { return nil }
        let refusal = refusals.gateways[key]
        let listeners = listeners(
            of: .gateway(key), state, refusal, generation: gateway.generation, after: gateway.status, now)
        let addresses = world.services[gateway.workload]?.ingress ?? []
        let conditions = gatewayConditions(gateway, state, addresses, refusal).json(
            generation: gateway.generation, after: gateway.status.list("conditions"), now: now,
            own: ["Accepted", "Programmed", "ResolvedRefs", Self.insecureClients])
        let status: JSONValue = [
            "addresses": .array(
                addresses.map {
                    [
                        "type": .string($0.contains(where: \.isLetter) && !$0.contains(":") ? "Hostname" : "IPAddress"),
                        "value": .string($0),
                    ]
                }),
            "conditions": conditions, "listeners": .array(listeners),
            "attachedListenerSets": .int(
                Int64(world.listenerSets(of: gateway).filter { accepted($0, gateway, state).holds }.count)),
        ]
        let isSame =
            ["addresses", "conditions", "listeners"].allSatisfy { name in
                (gateway.status[name] ?? .array([])) == (status[name] ?? .null)
            } && gateway.status["attachedListenerSets"] == status["attachedListenerSets"]
        guard !isSame else { return nil }
        return StatusPatch(
            GroupVersionResource(group: RouteKind.group, resource: "gateways"), key, version: gateway.resourceVersion,
            status: status)
    }

    private func listeners(
        of owner: ListenerOwner, _ state: GatewayState, _ refusal: String?, generation: Int64, after status: JSONValue,
        _ now: Timestamp
    ) -> [JSONValue] {
        let old = status.list("listeners")
        return state.plan.listeners.enumerated().filter { $0.element.spec.owner == owner }.map { index, listener in
            let known = old.first { $0.text("name") == listener.spec.name }?.list("conditions") ?? []
            var conditions = listener.conditions
            if let refusal, listener.isUsable { conditions[3] = Condition("Programmed", false, "Invalid", refusal) }
            return [
                "name": .string(listener.spec.name), "attachedRoutes": .int(Int64(state.attached[index])),
                "supportedKinds": .array(
                    listener.kinds.map { ["group": .string(RouteKind.group), "kind": .string($0.rawValue)] }),
                "conditions": conditions.json(generation: generation, after: known, now: now),
            ]
        }
    }

    private func listenerSetStatus(_ key: ObjectKey, _ refusals: ProxyRefusals, _ now: Timestamp) -> StatusPatch? {
        guard let set = world.listenerSets[key], let gateway = set.gateway.flatMap({ world.gateways[$0] }),
            let state = gateways.states[gateway.key]
        else { return nil }
        let accepted = accepted(set, gateway, state)
        let refusal = refusals.gateways[gateway.key]
        var programmed = Condition("Programmed", true, "Programmed", "proxies have what they need")
        if !accepted.holds {
            programmed = Condition("Programmed", false, accepted.reason, accepted.message)
        } else if let refusal {
            programmed = Condition("Programmed", false, "Invalid", refusal)
        }
        let status: JSONValue = [
            "conditions": [accepted, programmed].json(
                generation: set.generation, after: set.status.list("conditions"), now: now),
            "listeners": .array(
                listeners(of: .set(key), state, refusal, generation: set.generation, after: set.status, now)),
        ]
        let isSame = ["conditions", "listeners"].allSatisfy { (set.status[$0] ?? .array([])) == (status[$0] ?? .null) }
        guard !isSame else { return nil }
        return StatusPatch(
            GroupVersionResource(group: RouteKind.group, resource: "listenersets"), key, version: set.resourceVersion,
            status: status)
    }

    private func accepted(_ set: MeshListenerSet, _ gateway: MeshGateway, _ state: GatewayState) -> Condition {
        guard world.isAllowed(set, gateway) else {
            return Condition(
                "Accepted", false, "NotAllowed", "Gateway \(gateway.key) allows no listeners of \(set.key.namespace)")
        }
        let own = state.plan.listeners.filter { $0.spec.owner == .set(set.key) }
        let invalid = own.filter { !$0.isUsable }.map { "\($0.spec.name): \($0.conditions[3].message)" }
        return invalid.isEmpty
            ? Condition("Accepted", true, "Accepted", "the listeners are in use")
            : Condition(
                "Accepted", own.contains(where: \.isUsable), "ListenersNotValid", invalid.joined(separator: "; "))
    }

    private func gatewayConditions(
        _ gateway: MeshGateway, _ state: GatewayState, _ addresses: [String], _ refusal: String?
    ) -> [Condition] {
        // Whoever adds listeners is told of them in his own object.
        let own = state.plan.listeners.filter { $0.spec.owner == .gateway(gateway.key) || $0.spec.isForIngress }
        let usable = own.filter(\.isUsable)
        let invalid = own.filter { !$0.isUsable }
        var accepted = Condition("Accepted", true, "Accepted", "the Gateway is in use")
        if gateway.infrastructure["parametersRef"] != nil {
            accepted = Condition(
                "Accepted", false, "InvalidParameters", "infrastructure.parametersRef is not supported")
        } else if let other = gateway.addresses.first(where: { !["", "IPAddress"].contains($0.text("type")) }) {
            accepted = Condition(
                "Accepted", false, "UnsupportedAddress", "addresses of type \(other.text("type")) are not supported")
        } else if !invalid.isEmpty {
            let names = invalid.map { "\($0.section): \($0.conditions[3].message)" }.joined(separator: "; ")
            accepted = Condition("Accepted", !usable.isEmpty, "ListenersNotValid", names)
        }
        let wanted = Set(gateway.addresses.map { $0.text("value") }.filter { !$0.isEmpty })
        var programmed = Condition("Programmed", true, "Programmed", "proxies have what they need")
        if !accepted.holds {
            programmed = Condition("Programmed", false, "Invalid", accepted.message)
        } else if let refusal {
            programmed = Condition("Programmed", false, "Invalid", refusal)
        } else if !wanted.isSubset(of: addresses), !wanted.isEmpty, !addresses.isEmpty {
            programmed = Condition(
                "Programmed", false, "AddressNotUsable",
                "\(wanted.subtracting(addresses).sorted().joined(separator: ", ")) is no address of a node")
        } else if addresses.isEmpty {
            programmed = Condition(
                "Programmed", false, wanted.isEmpty ? "AddressNotAssigned" : "AddressNotUsable",
                "Service \(gateway.workload) has no address yet")
        }
        var conditions = [accepted, programmed]
        if gateway.backend != .null { conditions.append(state.plan.resolved) }
        if gateway.acceptsAnyClient {
            conditions.append(
                Condition(
                    Self.insecureClients, true, "ConfigurationChanged",
                    "clients are let in whatever certificate they show, or none"))
        }
        return conditions
    }

    private static let insecureClients = "InsecureFrontendValidationMode"

    // MARK: Routes

    private func routeStatus(_ key: RouteKey, _ refusals: ProxyRefusals, _ now: Timestamp) -> StatusPatch? {
        guard key.kind != .ingress, let route = world.routes[key] else { return nil }
        let own = route.statuses.filter { $0.text("controllerName") == MeshGatewayClass.controller }
        let others = route.statuses.filter { $0.text("controllerName") != MeshGatewayClass.controller }
        var parents: [JSONValue] = []
        for (index, parent) in route.parents.enumerated() {
            guard let conditions = conditions(route, index, parent, refusals) else { continue }
            let known = own.first { $0["parentRef"] == parent.reference }?.list("conditions") ?? []
            parents.append([
                "parentRef": parent.reference, "controllerName": .string(MeshGatewayClass.controller),
                "conditions": conditions.json(generation: route.generation, after: known, now: now),
            ])
        }
        guard own != parents else { return nil }
        return StatusPatch(
            key.kind.resource, key.key, version: route.resourceVersion, status: ["parents": .array(others + parents)])
    }

    /// Nil where the parent is not ours to speak for.
    private func conditions(
        _ route: MeshRoute, _ index: Int, _ parent: MeshRoute.Parent, _ refusals: ProxyRefusals
    ) -> [Condition]? {
        switch parent.kind {
        case .other: return nil
        case .gateway, .listenerSet:
            let state =
                parent.kind == .gateway
                ? gateways.states[parent.key] : gateways.states.values.first { $0.bindings[route.route]?[index] != nil }
            guard let state, let binding = state.bindings[route.route]?[index] else { return nil }
            var conditions = [binding.accepted, route.resolved(world)]
            if let other = state.shadowed[route.route] {
                conditions.append(
                    Condition(
                        "weft.dev/Shadowed", true, "MatchTaken",
                        "\(other) is older and has the same match: it gets the requests"))
            }
            if let refusal = refusals.gateways[state.gateway.key] {
                conditions.append(Condition("weft.dev/Programmed", false, "RefusedByProxy", refusal))
            }
            return conditions
        case .service:
            var conditions = [acceptedByService(route, parent), route.resolved(world, from: parent.key)]
            let ports = (world.services[parent.key]?.ports ?? []).map(\.number).filter {
                parent.port == nil || parent.port == $0
            }
            for port in ports {
                if let refusal = refusals.tables["\(world.host(parent.key)):\(port)"] {
                    conditions.append(Condition("weft.dev/Programmed", false, "RefusedByProxy", refusal))
                    break
                }
            }
            if let other = shadowed[parent.key]?[route.route] {
                conditions.append(
                    Condition(
                        "weft.dev/Shadowed", true, "MatchTaken",
                        "\(other) is older and has the same match: it gets the requests"))
            }
            return conditions
        }
    }

    private func acceptedByService(_ route: MeshRoute, _ parent: MeshRoute.Parent) -> Condition {
        guard let service = world.services[parent.key] else {
            return Condition("Accepted", false, "NoMatchingParent", "Service \(parent.key) does not exist")
        }
        if let port = parent.port, !service.ports.contains(where: { $0.number == port }) {
            return Condition("Accepted", false, "NoMatchingParent", "Service \(parent.key) has no TCP port \(port)")
        }
        let ports = service.ports.filter { parent.port == nil || parent.port == $0.number }
        if !route.route.kind.isOfRequests {
            if service.isHeadless {
                return Condition(
                    "Accepted", false, "UnsupportedValue",
                    "Service \(parent.key) has no address, and connections to its pods are not routed")
            }
            if !ports.isEmpty, ports.allSatisfy({ world.spoken(parent.key, $0).isHTTP }) {
                return Condition(
                    "Accepted", false, "UnsupportedProtocol",
                    "Service \(parent.key) speaks HTTP there; a \(route.route.kind.rawValue) is for other streams")
            }
        } else if !ports.isEmpty, !ports.contains(where: { world.spoken(parent.key, $0).isHTTP }) {
            return Condition(
                "Accepted", false, "UnsupportedProtocol",
                "Service \(parent.key) says that it speaks no HTTP there; where it does, name the port http or set its appProtocol"
            )
        }
        return route.objection() ?? RouteBinding.accepted
    }

    // MARK: Ingresses

    private func ingressStatus(_ key: ObjectKey) -> StatusPatch? {
        guard let ingress = world.ingresses[key], world.isOurs(ingress),
            let gateway = world.gateways[MeshIngressClass.gateway]
        else { return nil }
        let addresses = (world.services[gateway.workload]?.ingress ?? []).map { address -> JSONValue in
            ["ip": .string(address)]
        }
        guard ingress.status.list("loadBalancer", "ingress") != addresses else { return nil }
        return StatusPatch(
            RouteKind.ingress.resource, key, version: ingress.resourceVersion,
            status: ["loadBalancer": ["ingress": .array(addresses)]])
    }

    // MARK: Policies

    private func policyStatus(_ key: ObjectKey, _ now: Timestamp) -> StatusPatch? {
        guard let policy = world.backendPolicies[key] else { return nil }
        let own = policy.statuses.filter { $0.text("controllerName") == MeshGatewayClass.controller }
        let others = policy.statuses.filter { $0.text("controllerName") != MeshGatewayClass.controller }
        let users = gateways.states.values.filter { state in policy.services.contains { state.isUsing($0) } }
        let trust = world.trust(policy)
        let resolved = trust.resolved
        var accepted = Condition("Accepted", true, "Accepted", "the policy is in force")
        let winners = policy.targets.flatMap { target in
            (world.services[target.service]?.ports ?? []).filter {
                target.section.isEmpty || target.section == $0.name
            }.compactMap { world.policy(for: target.service, $0)?.key }
        }
        if !winners.isEmpty, !winners.contains(key) {
            accepted = Condition(
                "Accepted", false, "Conflicted", "BackendTLSPolicy \(winners[0]) is older and has the same target")
        } else if !trust.isUsable {
            accepted = Condition("Accepted", false, "NoValidCACertificate", resolved.message)
        }
        let ancestors = users.map(\.gateway.key).sorted().map { gateway -> JSONValue in
            let reference: JSONValue = [
                "group": .string(RouteKind.group), "kind": "Gateway", "namespace": .string(gateway.namespace),
                "name": .string(gateway.name),
            ]
            let known = own.first { $0["ancestorRef"] == reference }?.list("conditions") ?? []
            return [
                "ancestorRef": reference, "controllerName": .string(MeshGatewayClass.controller),
                "conditions": [accepted, resolved].json(generation: policy.generation, after: known, now: now),
            ]
        }
        guard own != ancestors else { return nil }
        return StatusPatch(
            GroupVersionResource(group: RouteKind.group, resource: "backendtlspolicies"), key,
            version: policy.resourceVersion, status: ["ancestors": .array(others + ancestors)])
    }
}
