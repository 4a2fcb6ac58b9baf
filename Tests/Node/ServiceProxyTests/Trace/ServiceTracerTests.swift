import Bytes
import ClusterAPI
import Netlink
import Testing

@testable import ServiceProxy

@Suite("The packet tracer")
struct ServiceTracerTests {
    @Test(
        "what Kubernetes promises a packet is what the rules do to it: random clusters, random packets",
        arguments: 0..<24)
    func agreement(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) &* 7919 &+ 13)
        var met: [String: Int] = [:]
        for _ in 0..<8 {
            let world = RandomWorld(&random)
            let tracer = world.tracer
            let tables = [
                IPAddress.Family.v4: tracer.plannedTable(.v4), .v6: tracer.plannedTable(.v6),
            ]
            for _ in 0..<60 {
                let packet = world.packet(&random)
                guard let table = tables[packet.destination.family] else { continue }
                let promised = tracer.policy(packet.destination.family).decide(packet)
                let fate = try RuleInterpreter(table: table, node: TracedNode(addresses: world.addresses)).fate(
                    of: packet)
                let agrees = promised.isKept(by: fate)
                #expect(
                    agrees,
                    """
                    seed \(seed), \(packet), \(world.configuration.localDetector) \(world.configuration.nodePortAddresses)
                    promised: \(promised.fate) because \(promised.reasons)
                    done: \(fate)
                    """)
                for outcome in promised.fate.outcomes.keys { met[outcome.kind, default: 0] += 1 }
            }
        }
        // A property of packets that meet nothing proves nothing.
        for kind in ["endpoint", "masqueraded", "rejected", "dropped"] {
            #expect(met[kind, default: 0] > 0, "\(kind): \(met)")
        }
    }

    // MARK: What it says

    private static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]
    private static let there: EndpointSliceSpec.Flags = [.ready, .serving]

    private static func tracer(_ change: (inout ServiceSpec) -> Void = { _ in }) -> ServiceTracer {
        var service = ServiceSpec.test("cart", "10.96.0.10", .init("http", .tcp, 80, nodePort: 30080))
        service.externalIPs = [address("192.0.2.80")]
        change(&service)
        let slice = EndpointSliceSpec(
            ObjectKey(namespace: "test", name: "cart-1"), of: service.key, ports: [.init("http", .tcp, 8080)],
            endpoints: [.init(address("10.244.1.5"), here), .init(address("10.244.2.5"), there)])
        return ServiceTracer(
            .testing, addresses: [address("192.0.2.1")], services: [service], slices: [slice])
    }

    private static func text(_ trace: ServiceTrace) -> String { trace.lines { _ in nil }.joined(separator: "\n") }

    @Test("a pod's packet to a cluster IP: the endpoints, the reasons, the rules and the elements, as nft names them")
    func clusterIP() {
        let packet = TracedPacket(
            .interface("veth1"), from: address("10.244.1.9"), to: address("10.96.0.10"), .tcp, 80)
        let trace = Self.tracer().trace(packet)
        #expect(trace.disagreements == [])
        let arrives = trace.arrives
        #expect(arrives)
        #expect(
            Self.text(trace) == """
                1/2 of flows to 10.244.1.5:8080, which sees the source 10.244.1.9
                1/2 of flows to 10.244.2.5:8080, which sees the source 10.244.1.9
                why:
                  it is a cluster IP of test/cart, port http
                  10.244.1.9 is in 10.244.1.0/24, so that it counts as a pod's
                  internalTrafficPolicy is Cluster
                  all ready endpoints
                how, in table ip weft-services:
                  prerouting 1: ip saddr 10.244.1.0/24 goto services
                  services 1: meta priority set ip daddr . meta l4proto . th dport map @services goto dispatch
                      services: 10.96.0.10 . tcp . 80 : 0:2402
                  dispatch 4: meta priority & 0:3ff vmap @classes
                      classes: 0:2 : goto lb-2
                  lb-2 1: meta priority set meta priority & ffff:e000
                  lb-2 2: dnat ip to meta priority . numgen random mod 2 map @endpoints
                      endpoints: 0:2000 . 0x00000000 : 10.244.1.5 . 8080
                      endpoints: 0:2000 . 0x00000001 : 10.244.2.5 . 8080
                  postrouting 1: ct status dnat meta priority set none
                """)
    }

    @Test("an endpoint that reaches itself: masqueraded for that reason")
    func hairpin() {
        let packet = TracedPacket(.interface("veth1"), from: address("10.244.1.5"), to: address("10.96.0.10"), .tcp, 80)
        let text = Self.text(Self.tracer().trace(packet))
        #expect(text.contains("10.244.1.5:8080, which sees the node as the source"))
        #expect(text.contains("10.244.2.5:8080, which sees the source 10.244.1.5"))
        #expect(text.contains("10.244.1.5 reaches itself and needs another source"))
    }

    @Test("from outside under externalTrafficPolicy Local: the local endpoint, or a drop that says why")
    func externalLocal() {
        let packet = TracedPacket(
            .interface("eth0"), from: address("198.51.100.9"), to: address("192.0.2.1"), .tcp, 30080)
        let trace = Self.tracer { $0.isExternalLocal = true }.trace(packet)
        #expect(Self.text(trace).hasPrefix("all flows to 10.244.1.5:8080, which sees the source 198.51.100.9"))
        #expect(trace.json { _ in "a pod" }["outcomes"]?[0]?["name"]?.string == "a pod")
        let without = ServiceTracer(
            .testing, addresses: [address("192.0.2.1")],
            services: [Self.service(isExternalLocal: true)], slices: [Self.remoteSlice])
        let dropped = without.trace(packet)
        #expect(dropped.disagreements == [])
        let dropArrives = dropped.arrives
        #expect(!dropArrives)
        #expect(Self.text(dropped).hasPrefix("dropped: the sender hears nothing"))
        #expect(dropped.json { _ in nil }["outcomes"]?[0]?["outcome"]?.string == "dropped")
    }

    private static func service(isExternalLocal: Bool) -> ServiceSpec {
        var service = ServiceSpec.test("cart", "10.96.0.10", .init("http", .tcp, 80, nodePort: 30080))
        service.isExternalLocal = isExternalLocal
        return service
    }

    private static let remoteSlice = EndpointSliceSpec(
        ObjectKey(namespace: "test", name: "cart-1"), of: ObjectKey(namespace: "test", name: "cart"),
        ports: [.init("http", .tcp, 8080)], endpoints: [.init(address("10.244.2.5"), there)])

    @Test("an external IP that is the node's comes before a node port of the same number, from wherever")
    func addressBeforeNodePort() {
        var other = ServiceSpec.test("other", "10.96.0.11", .init("http", .tcp, 30080))
        other.externalIPs = [address("192.0.2.1")]
        let slice = EndpointSliceSpec.test("other", [.init("http", .tcp, 8080)], ["10.244.2.9"])
        let tracer = ServiceTracer(
            .testing, addresses: [address("192.0.2.1")], services: [Self.service(isExternalLocal: true), other],
            slices: [Self.remoteSlice, slice])
        for source in ["198.51.100.9", "10.244.1.9"] {
            let trace = tracer.trace(
                TracedPacket(.interface("eth0"), from: address(source), to: address("192.0.2.1"), .tcp, 30080))
            #expect(trace.disagreements == [])
            #expect(Self.text(trace).hasPrefix("all flows to 10.244.2.9:8080"))
        }
    }

    @Test("a port that no Service has is rejected; an address of nobody is left alone")
    func noPort() {
        let tracer = Self.tracer()
        let wrong = TracedPacket(.node, from: address("192.0.2.1"), to: address("10.96.0.10"), .tcp, 81)
        #expect(Self.text(tracer.trace(wrong)).hasPrefix("rejected: the sender is told at once"))
        let other = TracedPacket(.node, from: address("192.0.2.1"), to: address("198.18.0.1"), .tcp, 80)
        #expect(Self.text(tracer.trace(other)).hasPrefix("not translated: no Service has it"))
        let arrives = tracer.trace(other).arrives
        #expect(!arrives)
    }

    @Test("beside a kernel: one that agrees, one that does not, and one without the table")
    func live() throws {
        let packet = TracedPacket(
            .interface("veth1"), from: address("10.244.1.9"), to: address("10.96.0.10"), .tcp, 80)
        let bench = try ProxyBench()
        bench.proxy.set(Self.service(isExternalLocal: false))
        bench.proxy.set(Self.remoteSlice)
        try bench.proxy.sync()
        let tracer = ServiceTracer(
            .testing, addresses: [], services: [Self.service(isExternalLocal: false)], slices: [Self.remoteSlice])
        let same = try tracer.trace(packet, besideKernelIn: bench.namespace.descriptor)
        let (isConsistent, arrives) = (same.isConsistent, same.arrives)
        #expect(isConsistent && arrives)
        #expect(Self.text(same).contains("the kernel's table does the same"))
        let other = try Self.tracer().trace(packet, besideKernelIn: bench.namespace.descriptor)
        #expect(Self.text(other).contains("WRONG: the kernel does something else: 10.244.2.5:8080 all"))
        try bench.proxy.removeTables()
        let none = try tracer.trace(packet, besideKernelIn: bench.namespace.descriptor)
        let noneArrives = none.arrives
        #expect(!noneArrives)
        #expect(Self.text(none).contains("WRONG: the kernel has no table ip weft-services"))
    }
}

extension PacketFate.Outcome {
    fileprivate var kind: String {
        if case .endpoint(_, let masqueraded) = self { return masqueraded ? "masqueraded" : "endpoint" }
        return "\(self)"
    }
}
