import Bytes
import MeshAPI
import Testing

@Suite("Which connections meet the sidecar")
struct CapturePlanTests {
    struct Case: Sendable {
        var annotations: [String: String]
        var captured: Set<UInt16>
    }

    static let ports: [UInt16] = [80, 8080, 9000, 15021, 15090]

    @Test(
        "of the ports 80, 8080, 9000 and the sidecar's pages",
        arguments: [
            Case(annotations: [:], captured: [80, 8080, 9000]),
            Case(annotations: ["mesh.weft.dev/includeInboundPorts": "*"], captured: [80, 8080, 9000]),
            Case(annotations: ["mesh.weft.dev/includeInboundPorts": ""], captured: []),
            Case(annotations: ["traffic.sidecar.istio.io/includeInboundPorts": "80, 9000-9100"], captured: [80, 9000]),
            Case(annotations: ["traffic.sidecar.istio.io/excludeInboundPorts": "8000-8999"], captured: [80, 9000]),
            Case(
                annotations: [
                    "mesh.weft.dev/includeInboundPorts": "80,8080", "mesh.weft.dev/excludeInboundPorts": "80",
                ], captured: [8080]),
            Case(
                annotations: [
                    "mesh.weft.dev/excludeInboundPorts": "80", "traffic.sidecar.istio.io/excludeInboundPorts": "9000",
                ], captured: [8080, 9000]),
            Case(annotations: ["sidecar.istio.io/interceptionMode": "NONE"], captured: []),
        ])
    func inbound(_ row: Case) throws {
        let plan = try CapturePlan(MeshAnnotations(row.annotations))
        #expect(Set(Self.ports.filter(plan.capturesInbound)) == row.captured)
    }

    @Test(
        "what goes out is captured by address and port, and exclusion wins",
        arguments: [
            ([:], true, true), (["mesh.weft.dev/excludeOutboundPorts": "80"], false, true),
            (["traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8"], false, false),
            (["mesh.weft.dev/includeOutboundIPRanges": "192.0.2.0/24"], false, false),
            (["mesh.weft.dev/includeOutboundIPRanges": "10.96.0.0/12"], true, true),
            (
                ["mesh.weft.dev/includeOutboundIPRanges": "", "mesh.weft.dev/includeOutboundPorts": "443"], false, true
            ), (["sidecar.istio.io/interceptionMode": "NONE"], false, false),
        ] as [([String: String], Bool, Bool)])
    func outbound(_ annotations: [String: String], plain: Bool, secure: Bool) throws {
        let plan = try CapturePlan(MeshAnnotations(annotations))
        let address = try #require(IPAddress("10.96.0.9"))
        #expect(plan.capturesOutbound(address, 80) == plain)
        #expect(plan.capturesOutbound(address, 443) == secure)
    }

    @Test("a pod has a plan when it was injected and still has its sidecar")
    func of() throws {
        let status = [MeshName.status: "{}"]
        #expect(try CapturePlan.of(annotations: status, containers: ["weft-proxy", "app"]) == CapturePlan())
        #expect(try CapturePlan.of(annotations: status, containers: ["app"]) == nil)
        #expect(try CapturePlan.of(annotations: [:], containers: ["weft-proxy", "app"]) == nil)
    }
}
