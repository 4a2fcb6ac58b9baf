import Bytes
import ClusterAPI

@testable import ServiceProxy

/// A cluster by chance with what makes its packets interesting: hints, addresses that are used twice, node ports on
/// addresses that are external IPs too, and a node's configuration.
struct RandomWorld {
    let configuration: ServiceProxyConfiguration
    let addresses: Set<IPAddress>
    let services: [ServiceSpec]
    let slices: [EndpointSliceSpec]
    let serviceCIDRs: [CIDR]

    private static let nodeAddresses = ["192.0.2.1", "203.0.113.1", "10.244.1.1", "fd00:8::1", "fd00:1::1"].map(address)

    init(_ random: inout SplitMix64) {
        configuration = Self.configuration(&random)
        addresses = Set(Self.nodeAddresses)
        let cluster = RandomCluster(&random, services: Int.random(in: 1...14, using: &random))
        var services = cluster.services.values.sorted { $0.key < $1.key }
        for index in services.indices {
            if Int.random(in: 0..<4, using: &random) == 0 {
                services[index].ingressIPs = [
                    IPAddress(v4: 198, 51, 100, UInt8(index + 1)), IPAddress(v6: 0xFD00_00FF_0000_0000, UInt64(index)),
                ]
                services[index].sourceRanges = Self.sourceRanges.randomElement(using: &random) ?? []
            }
            if Int.random(in: 0..<6, using: &random) == 0 { services[index].balancing = .maglev }
            if Int.random(in: 0..<4, using: &random) == 0 {
                services[index].affinity = SessionAffinity(timeout: [1, 60, 10_800].randomElement(using: &random) ?? 1)
            }
            if Int.random(in: 0..<5, using: &random) == 0 {
                services[index].externalIPs.append(Self.nodeAddresses[index % Self.nodeAddresses.count])
                services[index].ports = services[index].ports.map { port in
                    var port = port
                    port.port = Port(port.port.rawValue + UInt16(1000 * (index + 1)))
                    return port
                }
                // On a node's address its port may be another Service's node port.
                let taken = services.flatMap(\.ports).filter { $0.nodePort != 0 }.randomElement(using: &random)
                if let taken, services[index].ports.count == 1 {
                    (services[index].ports[0].port, services[index].ports[0].transport) = (
                        taken.nodePort, taken.transport
                    )
                }
            }
        }
        self.services = services
        serviceCIDRs = Bool.random(using: &random) ? [prefix("10.96.0.0/16"), prefix("fd00::/64")] : []
        slices = cluster.slices.values.sorted { $0.key < $1.key }.map { slice in
            var slice = slice
            let hints = Int.random(in: 0..<4, using: &random)
            let isWeighted = Int.random(in: 0..<5, using: &random) == 0
            for index in slice.endpoints.indices {
                if hints > 1 { slice.endpoints[index].flags.formUnion(Self.hints(hints == 2, &random)) }
                if isWeighted { slice.endpoints[index].weight = [0, 1, 1, 5, 20].randomElement(using: &random) ?? 1 }
                if Int.random(in: 0..<9, using: &random) == 0 { slice.endpoints[index].flags.insert(.terminating) }
            }
            return slice
        }
    }

    private static let sourceRanges: [[CIDR]] = [
        [], [prefix("192.0.2.0/24")], [prefix("10.244.0.0/16"), prefix("fd00:1::/64")],
        [prefix("198.51.100.0/24"), prefix("0.0.0.0/0")], [prefix("fd00:8::/64"), prefix("203.0.113.1/32")],
    ]

    private static func hints(_ zone: Bool, _ random: inout SplitMix64) -> EndpointSliceSpec.Flags {
        var flags: EndpointSliceSpec.Flags = []
        if Int.random(in: 0..<20, using: &random) > 0 { flags.insert(zone ? .hasZoneHints : .hasNodeHints) }
        if Bool.random(using: &random), !flags.isEmpty { flags.insert(zone ? .hintsThisZone : .hintsThisNode) }
        return flags
    }

    private static func configuration(_ random: inout SplitMix64) -> ServiceProxyConfiguration {
        var configuration = ServiceProxyConfiguration.testing
        let detectors: [ServiceProxyConfiguration.LocalDetector] = [
            .none, .prefixes([prefix("10.244.0.0/16"), prefix("fd00:1::/64")]), .prefixes([prefix("10.244.0.0/25")]),
            .bridgeInterface("cni0"), .interfaceNamePrefix("veth"),
        ]
        configuration.localDetector = detectors.randomElement(using: &random) ?? .none
        let scopes: [ServiceProxyConfiguration.NodePortAddresses] = [
            .all, .addresses([address("192.0.2.1"), address("fd00:8::1")]),
            .prefixes([prefix("203.0.113.0/24"), prefix("fd00:8::/64"), prefix("127.0.0.0/8")]),
        ]
        configuration.nodePortAddresses = scopes.randomElement(using: &random) ?? .all
        configuration.masqueradesAll = Int.random(in: 0..<5, using: &random) == 0
        return configuration
    }

    var tracer: ServiceTracer {
        ServiceTracer(
            configuration, addresses: addresses, services: services, slices: slices,
            serviceCIDRs: serviceCIDRs)
    }

    /// One that is likely to meet a Service, and sometimes just not.
    func packet(_ random: inout SplitMix64) -> TracedPacket {
        let family: IPAddress.Family = Int.random(in: 0..<3, using: &random) == 0 ? .v6 : .v4
        let service = services.randomElement(using: &random)
        let port = service?.ports.randomElement(using: &random)
        var destinations = Self.nodeAddresses + [address("127.0.0.1"), address("::1"), address("198.18.0.1")]
        for _ in 0..<3 {
            destinations += (service?.clusterIPs ?? []) + (service?.externalIPs ?? []) + (service?.ingressIPs ?? [])
        }
        destinations.append(family == .v4 ? address("10.96.77.77") : address("fd00:77::1"))
        let destination = destinations.filter { $0.family == family }.randomElement(using: &random) ?? .anyV4
        var ports: [Port] = [port?.port ?? 80, port?.port ?? 80, port?.nodePort ?? 0, 4711]
        if addresses.contains(destination) { ports += [port?.nodePort ?? 0, port?.nodePort ?? 0] }
        // What endpoints send to themselves is the rarest: they are asked for by name.
        let own = slices.filter { $0.service == service?.key && $0.family == family }.flatMap(\.endpoints)
        let sources =
            (own.randomElement(using: &random).map { [$0.address, $0.address] } ?? [])
            + ["10.244.0.200", "192.0.2.77", "fd00:1::77", "fd00:99::1"].map(address) + Self.nodeAddresses
        let source = sources.filter { $0.family == family }.randomElement(using: &random) ?? .anyV4
        let isOwn = addresses.contains(source)
        let interface = ["cni0", "veth12", "eth0", "cni01"].randomElement(using: &random) ?? ""
        return TracedPacket(
            isOwn ? .node : .interface(interface), from: source, to: destination,
            Transport.allCases.filter { $0 == port?.transport || Int.random(in: 0..<9, using: &random) == 0 }
                .randomElement(using: &random) ?? .tcp,
            ports.randomElement(using: &random) ?? 80)
    }
}
