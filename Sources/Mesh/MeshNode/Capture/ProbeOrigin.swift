import Bytes
import Glibc
import MeshAPI
import Netlink

/// The node's addresses from which it probes meshed pods: theirs alone, whatever a pod or another machine claims.
public enum ProbeOrigin {
    static let table = NFTableName(.inet, "weft-mesh-probes")
    private static let chain = NFChainName(table, "prerouting")
    private static let loopback = InterfaceIndex(1)

    public static let addresses: [IPAddress] = [ProbeSource.v4, ProbeSource.v6].compactMap { IPAddress($0) }

    /// The one of a family.
    public static func address(_ family: IPAddress.Family) -> IPAddress? {
        addresses.first { $0.family == family }
    }

    /// Gives the node the addresses and refuses packets from elsewhere that bear them. Again is no error.
    ///
    /// - Parameter namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    /// - Returns: false where the node has no IPv6, so that only IPv4 probes come from here.
    @discardableResult
    public static func establish(namespace: CInt? = nil) throws -> Bool {
        // The rule first: never is there the address without its guard.
        try NFTablesConnection(namespace: namespace).commit(batch)
        let routes = try RouteConnection(namespace: namespace)
        var hasIPv6 = true
        for address in addresses {
            let entry = InterfaceAddress(
                device: loopback, address: CIDR(host: address), scope: .host, flags: .noDuplicateDetection)
            do throws(NetlinkError) {
                try routes.perform([.add(entry)])
            } catch  where error.errno == EEXIST {
                continue
            } catch {
                guard address.family == .v6 else { throw error }
                hasIPv6 = false
            }
        }
        return hasIPv6
    }

    /// The kernel itself drops IPv4 packets that come in with an address of its own; of IPv6 it does not.
    static var batch: NFBatch {
        var batch = NFBatch()
        batch.add(NFTable(table))
        batch.add(NFChain(chain, base: NFChain.Base(.filter, .prerouting, priority: NFChain.Base.raw)))
        batch.flush(chain)
        for address in addresses {
            let isV4 = address.family == .v4
            batch.append(
                NFRule(
                    chain,
                    [
                        .meta(.inputIndex, into: 0), .compare(0, .notEqual, loopback.rawValue.registerBytes),
                        .meta(.family, into: 0), .compare(0, .equal, [isV4 ? 2 : 10]),
                        .payload(isV4 ? .ipv4Source : .ipv6Source, into: 0), .compare(0, .equal, address.bytes),
                        .counter(), .verdict(.drop),
                    ], comment: "only this node probes from here"))
        }
        return batch
    }
}
