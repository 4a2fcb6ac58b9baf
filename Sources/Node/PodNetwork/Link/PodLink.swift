import Bytes
import Netlink

/// The requests that make a pod's link, in the three sends that they need. Pure: `PodPlumber` sends them.
enum PodLink {
    /// In the host's namespace: both ends at once, the pod's born in its namespace; then its number.
    static func create(_ attachment: PodAttachment, podNamespace: CInt) -> [NetlinkRequest] {
        let pod = LinkSpec(
            name: attachment.id.interface, mtu: attachment.mtu, hardwareAddress: attachment.hardwareAddress,
            namespace: podNamespace)
        let host = LinkSpec(
            name: attachment.hostInterface, kind: .veth(peer: pod), mtu: attachment.mtu,
            hardwareAddress: PodGateway.hardwareAddress, isUp: true)
        return [.create(host), .get(linkNamed: attachment.hostInterface)]
    }

    /// In the pod's namespace: what its end needs to reach the world.
    static func configurePod(_ addresses: [IPAddress], device: InterfaceIndex, loopback: InterfaceIndex)
        -> [NetlinkRequest]
    {
        var requests: [NetlinkRequest] = [
            .change(loopback, LinkChange(isUp: true)), .change(device, LinkChange(isUp: true)),
        ]
        for address in addresses {
            let gateway = PodGateway.address(address.family)
            requests.append(
                .add(
                    InterfaceAddress(
                        device: device, address: PodGateway.hostPrefix(address), flags: .noDuplicateDetection),
                    existing: .replace))
            requests.append(
                .add(Neighbour(device: device, address: gateway, hardwareAddress: PodGateway.hardwareAddress)))
            // IPv6's gateway is link-local and needs no route of its own.
            if address.family == .v4 {
                requests.append(.add(Route(destination: PodGateway.hostPrefix(gateway), device: device)))
            }
            requests.append(
                .add(
                    Route(
                        destination: address.family.everywhere, device: device, gateway: gateway,
                        preferredSource: address)))
        }
        return requests
    }

    /// In the host's namespace: the way to the pod. Its Ethernet address is known, so nobody asks for that either.
    static func configureHost(_ attachment: PodAttachment, device: InterfaceIndex) -> [NetlinkRequest] {
        let alias = LinkChange(alias: attachment.pod ?? attachment.id.description)
        return [.change(device, alias)]
            + attachment.addresses.flatMap { address -> [NetlinkRequest] in
                [
                    .add(Neighbour(device: device, address: address, hardwareAddress: attachment.hardwareAddress)),
                    .add(Route(destination: PodGateway.hostPrefix(address), device: device)),
                ]
            }
    }
}
