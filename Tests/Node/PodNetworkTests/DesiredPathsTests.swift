import Bytes
import Netlink
import Testing

@testable import PodNetwork

@Suite("What leads to other nodes' pods")
struct DesiredPathsTests {
    private let tunnel = InterfaceIndex(7)
    private let underlay = InterfaceIndex(2)
    private let mac = MACAddress(0x0E57_AC1E_000C)

    private func here(_ backend: Backend) -> Vantage {
        Vantage(node: "a", backend: backend, underlay: underlay, tunnel: backend == .vxlan ? tunnel : nil, vni: 1)
    }

    private func peer(_ prefixes: String..., vni: UInt32? = 1) -> NodeNetwork {
        let address = IPAddress("172.30.0.12")!
        return NodeNetwork(
            name: "b", podCIDRs: prefixes.map { CIDR($0)! }, address: address,
            tunnel: vni.map { TunnelEndpoint(vni: $0, hardwareAddress: mac, publicAddress: address) })
    }

    @Test("by tunnel: its address resolved and located, and the prefix routed to it")
    func tunnelled() {
        #expect(
            paths(to: peer("10.244.2.0/24"), from: here(.vxlan)) == [
                .neighbour(IPAddress("10.244.2.0")!): .neighbour(mac, device: tunnel),
                .forwarding(mac): .forwarding(to: IPAddress("172.30.0.12")!, device: tunnel),
                .route(CIDR("10.244.2.0/24")!): .remote(via: IPAddress("10.244.2.0")!, device: tunnel, onlink: true),
            ])
    }

    @Test("by plain routes: the prefix by the node's address, in that address's family only")
    func plain() {
        #expect(
            paths(to: peer("10.244.2.0/24", "fd00:2::/64"), from: here(.hostGateway)) == [
                .route(CIDR("10.244.2.0/24")!): .remote(
                    via: IPAddress("172.30.0.12")!, device: underlay, onlink: false)
            ])
    }

    @Test("a node without a prefix, without a tunnel or in another tunnel is not led to")
    func nothing() {
        #expect(paths(to: peer(), from: here(.vxlan)).isEmpty)
        #expect(paths(to: peer("10.244.2.0/24", vni: nil), from: here(.vxlan)).isEmpty)
        #expect(paths(to: peer("10.244.2.0/24", vni: 2), from: here(.vxlan)).isEmpty)
    }

    @Test("this node's own prefix is unreachable but for its pods, and its tunnel has the first address")
    func own() {
        let own = NodeNetwork(name: "a", podCIDRs: [CIDR("10.244.1.0/24")!], address: IPAddress("172.30.0.11")!)
        #expect(
            paths(to: own, from: here(.vxlan)) == [
                .route(CIDR("10.244.1.0/24")!): .unreachable,
                .address(IPAddress("10.244.1.0")!): .address(device: tunnel),
            ])
    }

    @Test("a route reads back as the path that it was written for")
    func roundTrip() {
        let all: [Path] = [
            .pod(device: underlay), .unreachable, .remote(via: IPAddress("10.244.2.0")!, device: tunnel, onlink: true),
            .remote(via: IPAddress("172.30.0.12")!, device: underlay, onlink: false),
        ]
        for path in all { #expect(Route(CIDR("10.244.2.0/24")!, path).flatMap { Path($0) } == path) }
    }

    @Test(
        "packets shrink by what the tunnel adds",
        arguments: [
            (1500, Backend.vxlan, "10.0.0.1", 1450), (1500, .vxlan, "fd00::1", 1430), (1400, .vxlan, "10.0.0.1", 1350),
            (1500, .hostGateway, "10.0.0.1", 1500), (9000, .vxlan, "10.0.0.1", 8950), (600, .vxlan, "10.0.0.1", 1280),
            (0, .vxlan, "10.0.0.1", 1280),
        ] as [(UInt32, Backend, String, UInt32)])
    func packetSize(underlay: UInt32, backend: Backend, address: String, expected: UInt32) {
        let family = IPAddress(address)!.family
        #expect(PacketSize.ofPods(underlayMTU: underlay, backend: backend, underlay: family) == expected)
    }
}

@Suite("flannel's annotations")
struct FlannelAnnotationsTests {
    @Test("say what flannel says, and are read back")
    func roundTrip() {
        let tunnel = TunnelEndpoint(
            vni: 1, hardwareAddress: MACAddress(0x0E57_AC1E_000B), publicAddress: IPAddress("172.30.0.11")!)
        let written = FlannelAnnotations.write(backend: .vxlan, address: tunnel.publicAddress, tunnel: tunnel)
        #expect(
            written == [
                "flannel.alpha.coreos.com/backend-type": "vxlan",
                "flannel.alpha.coreos.com/backend-data": #"{"VNI":1,"VtepMAC":"0e:57:ac:1e:00:0b"}"#,
                "flannel.alpha.coreos.com/public-ip": "172.30.0.11",
                "flannel.alpha.coreos.com/kube-subnet-manager": "true",
            ])
        #expect(FlannelAnnotations.tunnel { written[$0] } == tunnel)
    }

    @Test("of plain routes tell of no tunnel")
    func hostGateway() {
        let written = FlannelAnnotations.write(backend: .hostGateway, address: IPAddress("172.30.0.11")!, tunnel: nil)
        #expect(written["flannel.alpha.coreos.com/backend-type"] == "host-gw")
        #expect(written["flannel.alpha.coreos.com/backend-data"] == "null")
        #expect(FlannelAnnotations.tunnel { written[$0] } == nil)
    }

    @Test(
        "that cannot be read tell of no tunnel",
        arguments: ["", "{", "null", "[]", #"{"VtepMAC":"x"}"#, #"{"VtepMAC":7}"#, #"{"VNI":1}"#])
    func malformed(data: String) {
        let annotations = [
            FlannelAnnotations.backendType: "vxlan", FlannelAnnotations.backendData: data,
            FlannelAnnotations.publicIP: "172.30.0.11",
        ]
        #expect(FlannelAnnotations.tunnel { annotations[$0] } == nil)
    }

    @Test("of an old flannel, which wrote no VNI, mean VNI 1")
    func old() {
        let annotations = [
            FlannelAnnotations.backendType: "vxlan", FlannelAnnotations.publicIP: "172.30.0.11",
            FlannelAnnotations.backendData: #"{"VtepMAC":"82:4b:b6:2f:54:4e"}"#,
        ]
        #expect(FlannelAnnotations.tunnel { annotations[$0] }?.vni == 1)
    }
}
