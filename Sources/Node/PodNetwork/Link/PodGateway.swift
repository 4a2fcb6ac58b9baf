import Bytes

/// What every pod sees as its gateway: the same addresses on every node, held by no interface. A permanent neighbour entry in
/// the pod resolves them to the host end of its veth, so nobody answers ARP and no proxy is needed.
enum PodGateway {
    /// All host ends have it; each is alone on its link with one pod.
    static let hardwareAddress = MACAddress(0xEEEE_EEEE_EEEE)
    static let v4 = IPAddress(v4: 169, 254, 1, 1)
    static let v6 = IPAddress(v6: 0xFE80_0000_0000_0000, 1)

    static func address(_ family: IPAddress.Family) -> IPAddress { family == .v4 ? v4 : v6 }

    /// One address as a prefix: pods share no link, so nothing is "near".
    static func hostPrefix(_ address: IPAddress) -> CIDR { CIDR(host: address) }

    /// A pod's Ethernet address, from the last four bytes of its IP address: the same again after a restart, and legible in a
    /// capture.
    static func podHardwareAddress(_ address: IPAddress) -> MACAddress {
        MACAddress(0x0A58_0000_0000 | address.low & 0xFFFF_FFFF)
    }

    /// A host end's name: the same for the same attachment, and within the kernel's 15 bytes. 44 bits of a hash keep a node's
    /// pods apart (one chance in 10⁹ for a thousand of them), and a clash is an error of ADD, not a mix-up.
    static func hostInterface(_ id: AttachmentID) -> String {
        let digits = String(FNV1a.hash64(id.description.utf8) >> 20, radix: 16)
        return "weft" + String(repeating: "0", count: 11 - digits.utf8.count) + digits
    }
}
