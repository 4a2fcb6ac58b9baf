import Bytes
import Netlink

/// This node's end of the VXLAN: a device that flannel would recognise as its own.
struct TunnelDevice: Hashable, Sendable {
    static let defaultVNI: UInt32 = 1
    /// The kernel's old default, which flannel kept, not IANA's 4789.
    static let defaultPort: UInt16 = 8472

    var vni: UInt32
    var port: UInt16
    var local: IPAddress
    var underlay: InterfaceIndex
    var mtu: UInt32
    var hardwareAddress: MACAddress

    var name: String { Self.name(vni) }
    static func name(_ vni: UInt32) -> String { "flannel.\(vni)" }

    /// An address that is the same after every restart, so that what other nodes wrote down stays right: from the node's
    /// address, within the locally administered range.
    static func hardwareAddress(for local: IPAddress, vni: UInt32) -> MACAddress {
        if local.family == .v4 { return MACAddress(0x0E57_0000_0000 | local.low) }
        let hash = FNV1a.hash64("\(local)/\(vni)".utf8)
        return MACAddress(0x0E57_0000_0000 | hash & 0xFFFF_FFFF)
    }

    var spec: LinkSpec {
        LinkSpec(
            name: name,
            kind: .vxlan(.init(vni: vni, port: port, local: local, device: underlay, learning: false)),
            mtu: mtu, hardwareAddress: hardwareAddress, isUp: true)
    }

    /// Whether an existing device carries the same packets. What can be changed in place (MTU, up) does not count.
    func matches(_ link: Link) -> Bool {
        guard case .vxlan(let options) = link.kind else { return false }
        return options == .init(vni: vni, port: port, local: local, device: underlay, learning: false)
            && link.hardwareAddress == hardwareAddress
    }
}
