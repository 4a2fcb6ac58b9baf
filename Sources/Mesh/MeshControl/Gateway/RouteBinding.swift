import ClusterAPI
import JSON

/// Which listeners of a Gateway a route is for, and under which names; or why for none.
struct RouteBinding: Hashable {
    struct Attachment: Hashable {
        /// Its place in the plan.
        var listener: Int
        /// Names that route and listener have in common; "" is any.
        var hostnames: [String]
    }

    var attachments: [Attachment] = []
    var accepted: Condition

    static let accepted = Condition("Accepted", true, "Accepted", "the route is in use")

    /// - Parameter parent: One of the route's, which means the plan's Gateway or one of its ListenerSets.
    init(_ route: MeshRoute, parent: MeshRoute.Parent, _ plan: GatewayPlan, _ world: MeshWorld) {
        accepted = Self.accepted
        let wanted = plan.listeners.indices.filter { index in
            let spec = plan.listeners[index].spec
            let isOwner =
                switch spec.owner {
                case .gateway(let key): parent.kind == .gateway && parent.key == key
                case .set where plan.listeners[index].spec.isForIngress: route.route.kind == .ingress
                case .set(let key): parent.kind == .listenerSet && parent.key == key
                }
            return isOwner && (parent.section.isEmpty || parent.section == spec.name)
                && (parent.port == nil || parent.port == spec.port)
        }
        guard !wanted.isEmpty else {
            accepted = Condition(
                "Accepted", false, "NoMatchingParent",
                "\(parent.key) has no listener \(parent.section)\(parent.port.map { " on port \($0)" } ?? "")")
            return
        }
        let allowing = wanted.filter { index in
            let listener = plan.listeners[index]
            return listener.kinds.contains(route.route.kind) && listener.admits(route.namespace, world)
        }
        guard !allowing.isEmpty else {
            let takesKind = wanted.contains { plan.listeners[$0].kinds.contains(route.route.kind) }
            accepted = Condition(
                "Accepted", false, "NotAllowedByListeners",
                takesKind
                    ? "no listener allows routes of namespace \(route.namespace)"
                    : "no listener takes a \(route.route.kind.rawValue)")
            return
        }
        for index in allowing {
            let own = plan.listeners[index].spec.hostname
            let hostnames =
                route.hostnames.isEmpty || route.route.kind == .tcp
                ? [own] : route.hostnames.compactMap { Hostname.intersection(own, $0.lowercased()) }
            if !hostnames.isEmpty {
                attachments.append(Attachment(listener: index, hostnames: Array(Set(hostnames)).sorted()))
            }
        }
        if attachments.isEmpty {
            accepted = Condition(
                "Accepted", false, "NoMatchingListenerHostname",
                "none of the hostnames is one of a listener that allows the route")
        }
    }
}

extension MeshRoute {
    /// Whether its references lead somewhere.
    ///
    /// - Parameter service: The parent that it is about, where that is a Service.
    func resolved(_ world: MeshWorld, from service: ObjectKey? = nil) -> Condition {
        var reasons: [(reason: String, message: String)] = []
        for reference in references {
            if case .refused(let reason, let message) = world.backend(reference, of: route, from: service) {
                reasons.append((reason.rawValue, message))
            }
        }
        guard let first = reasons.first else {
            return Condition("ResolvedRefs", true, "ResolvedRefs", "all references lead somewhere")
        }
        var seen: Set<String> = []
        let messages = reasons.map(\.message).filter { seen.insert($0).inserted }
        return Condition("ResolvedRefs", false, first.reason, messages.joined(separator: "; "))
    }

    /// Why proxies are not shown it at all; nil when they may be.
    func objection() -> Condition? {
        for (place, expression) in RouteTranslation.expressions(self) {
            if let problem = RegularExpression.problem(expression) {
                return Condition("Accepted", false, "UnsupportedValue", "\(place): \"\(expression)\": \(problem)")
            }
        }
        for (index, rule) in rules.enumerated() {
            let filters = rule.list("filters") + rule.list("backendRefs").flatMap { $0.list("filters") }
            for filter in filters where ["ExtensionRef", "ExternalAuth"].contains(filter.text("type")) {
                return Condition(
                    "Accepted", false, "UnsupportedValue",
                    "rule \(index): filter \(filter.text("type")) is not supported")
            }
            if let problem = SessionPersistence(rule)?.problem {
                return Condition(
                    "Accepted", false, "UnsupportedValue", "rule \(index): sessionPersistence: \(problem)")
            }
        }
        return nil
    }
}
