import Bytes

/// From a Service and its EndpointSlices to what packets meet: pure, and the only place that knows the traffic policies.
struct ServicePlanner: Sendable {
    var family: IPAddress.Family
    /// Every packet to a cluster IP gets this node's source.
    var masqueradesAll = false
    /// Whether packets of pods can be told from others. Without, cluster IPs are never masqueraded.
    var knowsPods = true

    func plan(_ service: ServiceSpec?, _ slices: [EndpointSliceSpec]) -> ServicePlan {
        var plan = ServicePlan()
        guard let service else { return plan }
        plan.clusterIPs = service.clusterIPs.filter { $0.family == family }
        let external = (service.externalIPs + service.ingressIPs).filter { $0.family == family }
        // A Service is of a family when it has a cluster IP of it: kube-proxy leaves its other addresses alone, too.
        guard !plan.clusterIPs.isEmpty else { return plan }
        for port in service.ports {
            let choice = EndpointChoice(candidates(port, slices))
            plan.hairpins.formUnion(choice.localAddresses)
            plan.ports.append(self.plan(service, port, choice, clusterIPs: plan.clusterIPs, external: external))
        }
        return plan
    }

    private func candidates(_ port: ServiceSpec.Port, _ slices: [EndpointSliceSpec]) -> [EndpointChoice.Candidate] {
        var candidates: [EndpointChoice.Candidate] = []
        for slice in slices where slice.family == family {
            for target in slice.ports where target.name == port.name && target.transport == port.transport {
                for endpoint in slice.endpoints {
                    candidates.append((Endpoint(address: endpoint.address, port: target.port), endpoint.flags))
                }
            }
        }
        return candidates
    }

    private func plan(
        _ service: ServiceSpec, _ port: ServiceSpec.Port, _ choice: EndpointChoice, clusterIPs: [IPAddress],
        external: [IPAddress]
    ) -> PortPlan {
        var plan = PortPlan(name: port.name, transport: port.transport)
        plan.serving = choice.serving

        func verdict(_ kind: ListKind, _ masquerade: Masquerade) -> Verdict {
            guard choice.hasEndpoints else { return .reject }
            let endpoints = kind == .cluster ? choice.cluster : choice.local
            guard !endpoints.isEmpty else { return .drop }
            plan.lists[kind] = endpoints
            return .dispatch(kind, masquerade)
        }

        for address in clusterIPs {
            let masquerade: Masquerade = masqueradesAll ? .always : knowsPods ? .unlessFromPod : .never
            plan.frontends[Frontend(address: address, transport: port.transport, port: port.port)] =
                verdict(service.isInternalLocal ? .local : .cluster, masquerade)
        }
        var outer = external.map { Frontend(address: $0, transport: port.transport, port: port.port) }
        if port.nodePort != 0 { outer.append(Frontend(address: nil, transport: port.transport, port: port.nodePort)) }
        for frontend in outer {
            if service.isExternalLocal {
                // From within, the whole cluster serves: what comes from a pod keeps its source, what comes from the
                // node itself may have chosen the VIP as its source and must lose it.
                plan.frontends[frontend] = verdict(.cluster, knowsPods ? .unlessFromPod : .always)
                plan.external[frontend] = verdict(.local, .never)
            } else {
                plan.frontends[frontend] = verdict(.cluster, .always)
            }
        }
        return plan
    }
}

extension ServicePlanner {
    /// As the node is configured.
    init(_ family: IPAddress.Family, _ configuration: ServiceProxyConfiguration) {
        self.init(
            family: family, masqueradesAll: configuration.masqueradesAll,
            knowsPods: configuration.detector(family) != .none)
    }
}
