import Bytes

/// From a Service and its EndpointSlices to what packets meet: pure, and the only place that knows the traffic policies.
struct ServicePlanner: Sendable {
    var family: IPAddress.Family
    /// Every packet to a cluster IP gets this node's source.
    var masqueradesAll = false
    /// Whether packets of pods can be told from others. Without, cluster IPs are never masqueraded.
    var knowsPods = true
    /// The node's own addresses, by which load balancers' source ranges may admit it.
    var nodeIPs: [IPAddress] = []

    func plan(_ service: ServiceSpec?, _ slices: [EndpointSliceSpec]) -> ServicePlan {
        var plan = ServicePlan()
        guard let service else { return plan }
        plan.created = service.created
        plan.clusterIPs = service.clusterIPs.filter { $0.family == family }
        // A Service is of a family when it has a cluster IP of it: kube-proxy leaves its other addresses alone, too.
        guard !plan.clusterIPs.isEmpty else { return plan }
        let addresses = Addresses(
            cluster: plan.clusterIPs, external: service.externalIPs.filter { $0.family == family },
            ingress: service.ingressIPs.filter { $0.family == family })
        let admitted = SourceRanges.admitted(service.sourceRanges, to: addresses.ingress, family, node: nodeIPs)
        for port in service.ports {
            let (candidates, weights) = candidates(port, slices)
            let choice = EndpointChoice(candidates)
            plan.hairpins.formUnion(choice.localAddresses)
            var portPlan = self.plan(service, port, choice, addresses)
            portPlan.weights = weights
            portPlan.affinity = service.affinity
            portPlan.balancing = service.balancing
            if let admitted, !addresses.ingress.isEmpty {
                portPlan.admitted = admitted
                portPlan.restricted = Set(
                    addresses.ingress.map { Frontend(address: $0, transport: port.transport, port: port.port) })
            }
            plan.ports.append(portPlan)
        }
        return plan
    }

    /// A Service's addresses of our family.
    private struct Addresses {
        var cluster: [IPAddress]
        var external: [IPAddress]
        /// The load balancer's.
        var ingress: [IPAddress]
    }

    /// The endpoints of a port, and the weights that are not 1. Of an endpoint that is in two slices the larger one counts.
    private func candidates(_ port: ServiceSpec.Port, _ slices: [EndpointSliceSpec])
        -> (candidates: [EndpointChoice.Candidate], weights: [Endpoint: UInt8])
    {
        var candidates: [EndpointChoice.Candidate] = []
        var weights: [Endpoint: UInt8] = [:]
        for slice in slices where slice.family == family {
            for target in slice.ports where target.name == port.name && target.transport == port.transport {
                for endpoint in slice.endpoints {
                    let address = Endpoint(address: endpoint.address, port: target.port)
                    candidates.append((address, endpoint.flags))
                    if endpoint.weight != 1 { weights[address] = max(weights[address] ?? 0, endpoint.weight) }
                }
            }
        }
        return (candidates, weights)
    }

    private func plan(
        _ service: ServiceSpec, _ port: ServiceSpec.Port, _ choice: EndpointChoice, _ addresses: Addresses
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

        for address in addresses.cluster {
            let masquerade: Masquerade = masqueradesAll ? .always : knowsPods ? .unlessFromPod : .never
            plan.frontends[Frontend(address: address, transport: port.transport, port: port.port)] =
                verdict(service.isInternalLocal ? .local : .cluster, masquerade)
        }
        // One that is a cluster IP, too, is external: as kube-proxy has it, whose later entry in a map counts.
        var outer = (addresses.external + addresses.ingress)
            .map { Frontend(address: $0, transport: port.transport, port: port.port) }
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
