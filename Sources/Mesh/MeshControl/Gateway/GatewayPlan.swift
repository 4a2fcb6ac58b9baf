import ClusterAPI
import JSON

/// What a Gateway's listeners are good for: pure, from the Gateway and what it refers to.
struct GatewayPlan {
    /// What its proxies show to backends: `spec.tls.backend`.
    private(set) var clientCertificate: ObjectKey?
    /// Whether `spec.tls` leads somewhere.
    private(set) var resolved = Condition("ResolvedRefs", true, "ResolvedRefs", "all references lead somewhere")

    struct Listener {
        let spec: MeshListener
        /// The kinds of routes that may use it, as far as they are understood.
        var kinds: [RouteKind] = []
        /// Secrets that it shows, in order.
        var certificates: [ObjectKey] = []
        var accepted = Condition("Accepted", true, "Accepted", "the listener is valid")
        var resolved = Condition("ResolvedRefs", true, "ResolvedRefs", "all references lead somewhere")
        var conflicted = Condition("Conflicted", false, "NoConflicts", "no other listener is in its way")
        /// How clients must prove who they are; nil where they need not.
        var clients: ClientValidation?

        var isTLS: Bool { spec.scheme == "HTTPS" || spec.scheme == "TLS" }
        var isEnded: Bool { spec.scheme == "HTTPS" || spec.scheme == "TLS" && !spec.isPassthrough }
        var isOfRequests: Bool { spec.scheme == "HTTP" || spec.scheme == "HTTPS" }

        /// Proxies can listen as it says.
        var isUsable: Bool {
            accepted.holds && !conflicted.holds && (!isEnded || !certificates.isEmpty)
        }

        /// Of a listener with requests: its route configuration. Those of HTTP on one port share one; each of HTTPS has its own, so
        /// that a connection that was made for one name is not used for another.
        var table: String { spec.scheme == "HTTP" ? "http.\(spec.port)" : "https.\(spec.port).\(section)" }

        /// Its name among all of the Gateway's.
        var section: String {
            switch spec.owner {
            case .gateway: spec.name
            case .set(let key): "\(key.namespace).\(key.name).\(spec.name)"
            }
        }
    }

    var listeners: [Listener]

    /// The listeners that are used for a port.
    func usable(on port: Int) -> [Listener] { listeners.filter { $0.isUsable && $0.spec.port == port } }

    var ports: [Int] { Set(listeners.filter(\.isUsable).map(\.spec.port)).sorted() }

    /// - Parameter listeners: The Gateway's own first, then those of its ListenerSets, which give way to those before them.
    init(_ gateway: MeshGateway, _ specs: [MeshListener], _ world: MeshWorld) {
        listeners = specs.map { spec in
            var listener = Listener(spec: spec)
            listener.readProtocol()
            if listener.accepted.holds {
                listener.readCertificates(world)
                listener.readClients(gateway, world)
            }
            return listener
        }
        findConflicts()
        readClientCertificate(gateway, world)
    }

    private mutating func readClientCertificate(_ gateway: MeshGateway, _ world: MeshWorld) {
        guard let reference = gateway.backend["clientCertificateRef"] else { return }
        let key = reference.target(from: gateway.key.namespace)
        func refuse(_ reason: String, _ message: String) {
            resolved = Condition("ResolvedRefs", false, reason, message)
        }
        guard reference.text("group").isEmpty, ["", "Secret"].contains(reference.text("kind")) else {
            return refuse("InvalidClientCertificateRef", "\(reference.text("kind")) \(key) is no Secret")
        }
        guard world.isAllowed("Gateway", of: gateway.key.namespace, toName: "Secret", key) else {
            return refuse("RefNotPermitted", "no ReferenceGrant allows Secret \(key)")
        }
        guard let secret = world.secrets[key], secret.problem == nil else {
            return refuse(
                "InvalidClientCertificateRef",
                "Secret \(key): \(world.secrets[key]?.problem ?? "there is none of type kubernetes.io/tls")")
        }
        clientCertificate = key
    }

    /// One port speaks one of HTTP, TLS and TCP, and under one name for one listener.
    ///
    /// What stands in a Gateway comes before its ListenerSets, and these one after the other; who gives way is in nobody's way. Of
    /// listeners that stand in one object neither is better.
    private mutating func findConflicts() {
        var before: [Int] = []
        var index = 0
        while index < listeners.count {
            let owner = listeners[index].spec.owner
            let end = listeners[index...].firstIndex { $0.spec.owner != owner } ?? listeners.count
            var own = (index..<end).filter { listeners[$0].accepted.holds }
            for place in own { listeners[place].giveWay(to: before.map { listeners[$0] }) }
            own.removeAll { listeners[$0].conflicted.holds }
            let equals = own.map { listeners[$0] }
            for (number, place) in own.enumerated() {
                listeners[place].giveWay(to: equals.enumerated().filter { $0.offset != number }.map(\.element))
            }
            before += own
            index = end
        }
    }

    /// How a client of a port must prove who it is: `spec.tls.frontend`.
    struct ClientValidation {
        /// PEM of at least one.
        var authorities: String
        var isOptional: Bool
    }
}

extension GatewayPlan.Listener {
    fileprivate mutating func readProtocol() {
        let supported: [RouteKind]
        switch spec.scheme {
        case "HTTP", "HTTPS": supported = [.http, .grpc]
        case "TLS": supported = [.tls]
        case "TCP": supported = [.tcp]
        default:
            accepted = Condition(
                "Accepted", false, "UnsupportedProtocol",
                "protocol \(spec.scheme) is not supported; HTTP, HTTPS, TLS and TCP are")
            return
        }
        if spec.isForIngress {
            kinds = spec.scheme.hasPrefix("HTTP") ? [.ingress] : []
            return
        }
        guard let wanted = spec.kinds else {
            kinds = supported
            return
        }
        let known = wanted.map { wanted -> RouteKind? in
            let group = wanted.text("group")
            let kind = group.isEmpty || group == RouteKind.group ? RouteKind(rawValue: wanted.text("kind")) : nil
            return kind.flatMap { supported.contains($0) ? $0 : nil }
        }
        kinds = known.compactMap(\.self)
        if known.contains(nil) {
            let unknown = zip(wanted, known).filter { $0.1 == nil }.map { $0.0.text("kind") }
            resolved = Condition(
                "ResolvedRefs", false, "InvalidRouteKinds",
                "\(unknown.joined(separator: ", ")) cannot be used with protocol \(spec.scheme)")
        }
    }

    fileprivate mutating func readCertificates(_ world: MeshWorld) {
        guard isEnded else { return }
        for reference in spec.certificates {
            let key = reference.target(from: spec.owner.key.namespace)
            func refuse(_ reason: String, _ message: String) {
                resolved = Condition("ResolvedRefs", false, reason, message)
            }
            guard reference.text("group").isEmpty, ["", "Secret"].contains(reference.text("kind")) else {
                refuse("InvalidCertificateRef", "\(reference.text("kind")) \(key) is no Secret")
                continue
            }
            guard world.isAllowed(spec.owner.kind, of: spec.owner.key.namespace, toName: "Secret", key) else {
                refuse(
                    "RefNotPermitted",
                    "Secret \(key) is in another namespace, and no ReferenceGrant there allows \(spec.owner.kind)s of "
                        + spec.owner.key.namespace)
                continue
            }
            guard let secret = world.secrets[key] else {
                refuse("InvalidCertificateRef", "there is no Secret \(key) of type kubernetes.io/tls")
                continue
            }
            if let problem = secret.problem {
                refuse("InvalidCertificateRef", "Secret \(key): \(problem)")
                continue
            }
            certificates.append(key)
        }
        if spec.certificates.isEmpty {
            resolved = Condition("ResolvedRefs", false, "InvalidCertificateRef", "no certificate is named")
        }
    }

    /// References that lead nowhere are left out; without any other nobody could prove anything, so nobody is let in.
    fileprivate mutating func readClients(_ gateway: MeshGateway, _ world: MeshWorld) {
        guard isEnded, let validation = gateway.validation(of: spec.port) else { return }
        var found: [String] = []
        for reference in validation.list("caCertificateRefs") {
            switch world.authorities(reference, of: "Gateway", in: gateway.key.namespace) {
            case .found(let pem): found.append(pem)
            case .refused(let reason, let message):
                resolved = Condition(
                    "ResolvedRefs", false, reason == "InvalidKind" ? "InvalidCACertificateKind" : reason, message)
            }
        }
        guard !found.isEmpty else {
            accepted = Condition(
                "Accepted", false, "NoValidCACertificate",
                "no certificate of an authority is left for clients of port \(spec.port): \(resolved.message)")
            return
        }
        clients = GatewayPlan.ClientValidation(
            authorities: found.joined(separator: "\n"), isOptional: validation.text("mode") == "AllowInsecureFallback")
    }

    /// To the first of others that has its port and another protocol or the same hostname.
    fileprivate mutating func giveWay(to others: [Self]) {
        func family(_ listener: Self) -> String { listener.isTLS ? "TLS" : listener.spec.scheme }
        for other in others where other.spec.port == spec.port {
            let reason: String
            let message: String
            if family(other) != family(self) {
                (reason, message) = (
                    "ProtocolConflict", "listener \(other.section) speaks \(other.spec.scheme) on port \(spec.port)"
                )
            } else if other.spec.hostname == spec.hostname {
                (reason, message) = (
                    "HostnameConflict", "listener \(other.section) has the same port and hostname"
                )
            } else {
                continue
            }
            conflicted = Condition("Conflicted", true, reason, message)
            accepted = Condition("Accepted", false, reason, message)
            return
        }
    }

    /// What is said of it, before proxies have their say.
    var conditions: [Condition] {
        let programmed =
            isUsable
            ? Condition("Programmed", true, "Programmed", "proxies listen as it says")
            : Condition(
                "Programmed", false, conflicted.holds ? conflicted.reason : "Invalid",
                (conflicted.holds ? conflicted : accepted.holds ? resolved : accepted).message)
        return [accepted, resolved, conflicted, programmed]
    }

    /// Whether a route of this namespace may use it.
    func admits(_ namespace: String, _ world: MeshWorld) -> Bool {
        if spec.isForIngress { return true }
        return switch spec.namespaces {
        case .all: true
        case .none: false
        case .same: namespace == spec.owner.key.namespace
        case .selector(let selector): selector.matches(world.namespaces[namespace]?.labels ?? [:])
        }
    }
}
