import Bytes
import ClusterAPI

@testable import ServiceProxy

/// Every kind of destination × traffic policy × endpoints × source × family × protocol, with what the specification
/// promises for each.
struct PacketMatrix {
    let configuration: ServiceProxyConfiguration

    private static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]
    private static let there: EndpointSliceSpec.Flags = [.ready, .serving]
    private static let leavingHere: EndpointSliceSpec.Flags = [.serving, .terminating, .local]
    private static let leavingThere: EndpointSliceSpec.Flags = [.serving, .terminating]

    /// Who is behind a Service.
    static let endpoints: [(name: String, members: [(PacketLab.Place, EndpointSliceSpec.Flags)])] = [
        ("both", [(.podA, here), (.remote, there)]),
        ("elsewhere", [(.remote, there)]),
        ("none", []),
        ("leaving", [(.podB, leavingHere), (.remote, leavingThere)]),
        ("local-leaving", [(.podA, leavingHere), (.remote, there)]),
    ]

    let services: [ServiceSpec]
    let slices: [EndpointSliceSpec]

    init(_ configuration: ServiceProxyConfiguration) {
        self.configuration = configuration
        var (services, slices): ([ServiceSpec], [EndpointSliceSpec]) = ([], [])
        for isLocal in [false, true] {
            for (name, members) in Self.endpoints {
                let number = services.count + 1
                let key = ObjectKey(namespace: "test", name: "\(name)-\(isLocal ? "local" : "cluster")")
                var service = ServiceSpec(
                    key, clusterIPs: ["10.96.1.\(number)", "fd00:96::\(number)"].map(address),
                    ports: [
                        .init("http", .tcp, 80, nodePort: Port(30000 + UInt16(number))),
                        .init("dns", .udp, 53, nodePort: Port(31000 + UInt16(number))),
                    ])
                service.externalIPs = ["198.51.100.\(number)", "fd00:98::\(number)"].map(address)
                service.ingressIPs = ["198.51.101.\(number)", "fd00:99::\(number)"].map(address)
                service.isInternalLocal = isLocal
                service.isExternalLocal = isLocal
                services.append(service)
                for family in [IPAddress.Family.v4, .v6] {
                    slices.append(
                        EndpointSliceSpec(
                            ObjectKey(namespace: "test", name: "\(key.name)-\(family)"), of: key, family,
                            ports: [.init("http", .tcp, 8080), .init("dns", .udp, 8053)],
                            endpoints: members.compactMap { place, flags in
                                PacketLab.address(of: place, family).map { .init($0, flags) }
                            }))
                }
            }
        }
        (self.services, self.slices) = (services, slices)
    }

    func feed(_ proxy: ServiceProxy) {
        for service in services { proxy.set(service) }
        for slice in slices { proxy.set(slice) }
        proxy.setNodeAddresses(PacketLab.nodeAddresses)
    }

    /// - Parameter interface: through which a place's packets come into the node.
    func questions(_ interface: (PacketLab.Place) -> String) -> [PacketQuestion] {
        let tracer = ServiceTracer(
            configuration, addresses: PacketLab.nodeAddresses, services: services, slices: slices)
        var questions: [PacketQuestion] = []
        for family in [IPAddress.Family.v4, .v6] {
            let policy = tracer.policy(family)
            for (destination, transport, port) in targets(family) {
                for place in PacketLab.Place.allCases {
                    let source = PacketLab.address(of: place, family) ?? nodeSource(to: destination)
                    let packet = TracedPacket(
                        place == .node ? .node : .interface(interface(place)), from: source, to: destination,
                        transport, port)
                    guard let expected = Self.expected(policy.decide(packet).fate, from: place) else { continue }
                    questions.append(
                        PacketQuestion(
                            place: place, transport: transport, destination: destination, port: port,
                            expected: expected))
                }
            }
        }
        return questions
    }

    private func targets(_ family: IPAddress.Family) -> [(IPAddress, Transport, Port)] {
        var targets: [(IPAddress, Transport, Port)] = []
        for service in services {
            let addresses = (service.clusterIPs + service.externalIPs + service.ingressIPs)
                .filter { $0.family == family }
            for port in service.ports {
                targets += addresses.map { ($0, port.transport, port.port) }
                targets.append((Self.nodePortAddress(family), port.transport, port.nodePort))
            }
        }
        // A port that no Service has, a node port on loopback, and an address of nobody's.
        if let clusterIP = services.first?.clusterIPs.first(where: { $0.family == family }) {
            targets += [(clusterIP, .tcp, 81), (clusterIP, .udp, 81)]
        }
        return targets
    }

    private static func nodePortAddress(_ family: IPAddress.Family) -> IPAddress {
        address(family == .v4 ? "203.0.113.1" : "fd00:8::1")
    }

    /// By the node's routes: its own address to itself, and that towards the outside to all else.
    private func nodeSource(to destination: IPAddress) -> IPAddress { Self.nodePortAddress(destination.family) }

    /// nil where the promise cannot be kept by anybody: a pod of another node that is sent to itself with its own source.
    private static func expected(_ fate: PacketFate, from place: PacketLab.Place) -> Set<PacketQuestion.Answer>? {
        var answers: Set<PacketQuestion.Answer> = []
        for outcome in fate.outcomes.keys {
            switch outcome {
            case .rejected: answers.insert(.refused)
            case .dropped, .untouched: answers.insert(.silence)
            case .endpoint(let endpoint, let masqueraded):
                let places: [PacketLab.Place] = [.podA, .podB, .remote]
                guard
                    let name = places.first(where: {
                        PacketLab.address(of: $0, endpoint.address.family) == endpoint.address
                    })
                else { continue }
                if place == .remote, name == .remote, !masqueraded { return nil }
                // The node's own source is the node's, whether or not it was changed.
                answers.insert(.endpoint(name, masqueraded: masqueraded || place == .node))
            }
        }
        return answers
    }
}
