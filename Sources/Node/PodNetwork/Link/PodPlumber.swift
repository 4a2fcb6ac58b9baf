import Bytes
import Netlink

/// Makes, checks and removes pods' links. Blocking, about a millisecond a call: the daemon runs it on its `PlumbingThread`, the
/// stand-alone plugin on its only one.
public final class PodPlumber {
    private let host: RouteConnection

    /// Works in the calling thread's network namespace, then and later.
    public init() throws {
        host = try RouteConnection()
    }

    /// Makes the pod's link, up and routed both ways, and gives the host end's number. What was made is taken back if a later
    /// step fails.
    public func attach(_ attachment: PodAttachment) throws -> InterfaceIndex {
        let namespace = try open(attachment.namespacePath)
        // A host end from an earlier try with the same id (its pod may have been rebuilt after a crash): replaced.
        if try host.link(named: attachment.hostInterface) != nil { try delete(attachment.hostInterface) }
        let made = try host.perform(PodLink.create(attachment, podNamespace: namespace.descriptor))
        guard let index = made.links.first?.index else { throw PodNetworkError.vanished(attachment.hostInterface) }
        do {
            HostSettings.applyToPodLink(attachment.hostInterface)
            try configure(attachment, in: namespace)
            try host.perform(PodLink.configureHost(attachment, device: index))
        } catch {
            try? delete(attachment.hostInterface)
            throw error
        }
        return index
    }

    private func open(_ path: String) throws(PodNetworkError) -> NamespaceHandle {
        do { return try NamespaceHandle.open(path) } catch { throw .noNamespace(error) }
    }

    private func configure(_ attachment: PodAttachment, in namespace: NamespaceHandle) throws {
        let pod = try RouteConnection(namespace: namespace.descriptor)
        let found = try pod.perform([.get(linkNamed: attachment.id.interface), .get(linkNamed: "lo")])
        let links = found.links
        guard let device = links.first(where: { $0.name == attachment.id.interface })?.index,
            let loopback = links.first(where: { $0.flags.contains(.loopback) })?.index
        else { throw PodNetworkError.vanished(attachment.id.interface) }
        try pod.perform(PodLink.configurePod(attachment.addresses, device: device, loopback: loopback))
    }

    /// Removes the host's end, and with it the pod's; nothing to do where it is gone.
    public func detach(_ attachment: PodAttachment) throws {
        try delete(attachment.hostInterface)
    }

    private func delete(_ name: String) throws {
        do { try host.perform([.delete(linkNamed: name)]) } catch  where error.isAbsence {}
    }

    /// What is not as `attach` left it, in one sentence; nil when all is well.
    public func fault(_ attachment: PodAttachment) throws -> String? {
        guard let link = try host.link(named: attachment.hostInterface) else {
            return "host interface \(attachment.hostInterface) is gone"
        }
        guard link.isUp else { return "host interface \(attachment.hostInterface) is down" }
        let routes = try host.routes(origin: .weft)
        for address in attachment.addresses
        where !routes.contains(where: { $0.destination == PodGateway.hostPrefix(address) && $0.device == link.index }) {
            return "the node has no route to \(address) by \(attachment.hostInterface)"
        }
        let namespace: NamespaceHandle
        do { namespace = try open(attachment.namespacePath) } catch { return "\(error)" }
        let pod = try RouteConnection(namespace: namespace.descriptor)
        guard let device = try pod.link(named: attachment.id.interface) else {
            return "the pod has no interface \(attachment.id.interface)"
        }
        guard device.isUp else { return "the pod's interface \(attachment.id.interface) is down" }
        let held = try pod.addresses(on: device.index).map(\.address.address)
        for address in attachment.addresses where !held.contains(address) {
            return "the pod's interface \(attachment.id.interface) has lost address \(address)"
        }
        let ways = try pod.routes()
        for address in attachment.addresses
        where !ways.contains(where: {
            $0.destination.prefixLength == 0 && $0.gateway == PodGateway.address(address.family)
        }) {
            return "the pod has no default route by \(PodGateway.address(address.family))"
        }
        return nil
    }

    /// The host ends that stand, by name.
    public func hostInterfaces() throws -> [String: InterfaceIndex] {
        Dictionary(
            try host.links().filter { $0.kind?.name == "veth" }.map { ($0.name, $0.index) },
            uniquingKeysWith: { first, _ in first })
    }
}
