import Bytes
import ClusterAPI
import Testing

@testable import ServiceProxy

@Suite("What changes cost, in element operations")
struct ChangeCostTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var writes: Int
        var change: @Sendable (ServiceProxy) -> Void
    }

    private static func service(_ change: (inout ServiceSpec) -> Void = { _ in }) -> ServiceSpec {
        var service = ServiceSpec.test("cart", "10.96.0.10", .init("http", .tcp, 80, nodePort: 30080))
        service.externalIPs = [address("192.0.2.80")]
        change(&service)
        return service
    }

    private static let ready: EndpointSliceSpec.Flags = [.ready, .serving]

    private static func slice(
        _ endpoints: [(UInt8, EndpointSliceSpec.Flags)], port: UInt16 = 8080, name: String = "cart-1"
    ) -> EndpointSliceSpec {
        EndpointSliceSpec(
            ObjectKey(namespace: "test", name: name), of: ObjectKey(namespace: "test", name: "cart"),
            ports: [.init("http", .tcp, Port(port))],
            endpoints: endpoints.map { .init(IPAddress(v4: 10, 244, 2, $0.0), $0.1) })
    }

    /// Before each: one Service with a cluster IP, an external IP and a node port, and three ready endpoints elsewhere.
    private static let three: [(UInt8, EndpointSliceSpec.Flags)] = [(1, ready), (2, ready), (3, ready)]

    /// A changed value is a removal and an addition: two.
    static let rows: [Row] = [
        Row(testDescription: "the same objects again", writes: 0) {
            $0.set(service())
            $0.set(slice(three))
        },
        Row(testDescription: "the same endpoints in another order", writes: 0) { $0.set(slice(three.reversed())) },
        Row(testDescription: "an endpoint that is not ready, and was not there", writes: 0) {
            $0.set(slice(three + [(4, [])]))
        },
        Row(testDescription: "an endpoint moves to another slice", writes: 0) {
            $0.set(slice([(1, ready), (2, ready)]))
            $0.set(slice([(3, ready)], name: "cart-2"))
        },
        Row(testDescription: "one endpoint more: its slot, and the class of three frontends", writes: 1 + 3 * 2) {
            $0.set(slice(three + [(4, ready)]))
        },
        Row(testDescription: "the last endpoint less: its slot, and three frontends", writes: 1 + 3 * 2) {
            $0.set(slice([(1, ready), (2, ready)]))
        },
        Row(testDescription: "the first endpoint less: the last takes its slot", writes: 2 + 1 + 3 * 2) {
            $0.set(slice([(2, ready), (3, ready)]))
        },
        Row(testDescription: "an endpoint begins to leave: as if it were gone", writes: 1 + 3 * 2) {
            $0.set(slice([(1, ready), (2, ready), (3, [.serving, .terminating])]))
        },
        Row(testDescription: "all begin to leave, and serve on", writes: 0) {
            $0.set(slice(three.map { ($0.0, [.serving, .terminating]) }))
        },
        Row(testDescription: "one endpoint exchanged for another: its slot", writes: 2) {
            $0.set(slice([(1, ready), (2, ready), (9, ready)]))
        },
        Row(testDescription: "an endpoint here instead of elsewhere: its hairpin", writes: 1) {
            $0.set(slice([(1, ready), (2, ready), (3, ready.union(.local))]))
        },
        Row(testDescription: "all endpoints on another port", writes: 3 * 2) { $0.set(slice(three, port: 9090)) },
        Row(testDescription: "no endpoint left: three slots, and three rejects", writes: 3 + 3 * 2) {
            $0.set(slice([]))
        },
        Row(testDescription: "another external IP instead", writes: 2) {
            $0.set(service { $0.externalIPs = [address("192.0.2.81")] })
        },
        Row(testDescription: "another node port instead", writes: 2) {
            $0.set(service { $0.ports[0].nodePort = 30081 })
        },
        Row(testDescription: "the internal policy becomes Local, with none here: the cluster IP drops", writes: 2) {
            $0.set(service { $0.isInternalLocal = true })
        },
        Row(
            testDescription: "the external policy becomes Local: two frontends change, and drop from outside",
            writes: 2 * 2 + 2
        ) {
            $0.set(service { $0.isExternalLocal = true })
        },
        Row(testDescription: "a second Service without endpoints: a reject and its cluster IP", writes: 2) {
            $0.set(.test("other", "10.96.0.11", .init("", .tcp, 80)))
        },
        Row(testDescription: "the Service goes: three frontends, three slots, its cluster IP", writes: 3 + 3 + 1) {
            $0.removeService(ObjectKey(namespace: "test", name: "cart"))
        },
    ]

    @Test("a change writes what it changes and no more, and nft lists what should be", arguments: rows)
    func cost(row: Row) throws {
        let bench = try ProxyBench()
        bench.proxy.set(Self.service())
        bench.proxy.set(Self.slice(Self.three))
        #expect(try bench.proxy.sync().elementWrites == 3 + 3 + 1)
        row.change(bench.proxy)
        #expect(try bench.proxy.sync().elementWrites == row.writes)
        #expect(try bench.proxy.sync().elementWrites == 0)
        let differences = try bench.listingDifferences(.v4)
        #expect(differences == [])
    }
}
