import Testing

@testable import MeshControl

@Suite("What is told of connected proxies")
struct ProxyStatusTests {
    @Test(
        "whose proxy it is stands in its node's ID",
        arguments: [
            ("sidecar~web-1.shop", "sidecar", "web-1", "shop"),
            ("router~edge.v2-7.infra", "router", "edge.v2-7", "infra"),
            ("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", "sidecar", "web-1", "shop"),
            ("envoy-1", "", "", ""), ("sidecar~web", "", "", ""), ("other~web.shop", "", "", ""), ("", "", "", ""),
        ])
    func identity(id: String, kind: String, pod: String, namespace: String) {
        let identity = ProxyIdentity(nodeID: id)
        #expect(identity.kind == kind && identity.pod == pod && identity.namespace == namespace && identity.id == id)
    }
}
