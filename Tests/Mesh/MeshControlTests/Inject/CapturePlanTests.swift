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

    @Test("a pod has a plan when it was injected and still has its sidecar")
    func of() throws {
        let status = [MeshName.status: "{}"]
        #expect(try CapturePlan.of(annotations: status, containers: ["weft-proxy", "app"]) == CapturePlan())
        #expect(try CapturePlan.of(annotations: status, containers: ["app"]) == nil)
        #expect(try CapturePlan.of(annotations: [:], containers: ["weft-proxy", "app"]) == nil)
    }
}
