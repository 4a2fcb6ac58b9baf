import Bytes
import Glibc
import MeshAPI
import Netlink

/// Puts a pod's connections under its sidecar, in the pod's own network namespace, from outside: the pod needs no rights for it.
public enum PodCapture {
    /// In force when this returns. Again for the same pod changes nothing that matters: connections that are open stay.
    ///
    /// - Parameters:
    ///   - namespace: path of the pod's network namespace.
    ///   - hasIPv6: whether the pod has an IPv6 address.
    public static func install(_ plan: CapturePlan, namespace path: String, hasIPv6: Bool) throws {
        let namespace = try NamespaceHandle.open(path)
        try NFTablesConnection(namespace: namespace.descriptor).commit(CaptureTable(plan).batch)
        guard plan.isOn, hasIPv6 else { return }
        // 127.0.0.6 is everybody's; its counterpart has to be given.
        let routes = try RouteConnection(namespace: namespace.descriptor)
        let address = InterfaceAddress(
            device: InterfaceIndex(1), address: CIDR(host: CaptureTable.selfV6), scope: .host,
            flags: .noDuplicateDetection)
        do { try routes.perform([.add(address)]) } catch  where error.errno == EEXIST {}
    }
}
