import Glibc

/// The kernel's table of tracked flows, of one network namespace.
///
/// Plain calls; see `NetlinkConnection`. Belongs to one thread, or loop, at a time.
public final class ConntrackConnection {
    private enum Message {
        static let get = NFNL.conntrack | 1
        static let delete = NFNL.conntrack | 2
        static let statistics = NFNL.conntrack | 5
    }

    private let connection: NetlinkConnection

    /// Opens in the calling thread's namespace, or in the one behind `namespace` (an open descriptor, borrowed).
    public init(namespace: CInt? = nil) throws(NetlinkError) {
        connection = try NetlinkConnection(.netfilter, namespace: namespace)
    }

    /// The flows that match. The table is never of one moment: flows come and go while it is read, and a dump that the
    /// kernel calls interrupted is as good as any.
    public func flows(_ filter: ConntrackFilter) throws(NetlinkError) -> [ConntrackFlow] {
        var writer = NetlinkWriter()
        filter.encode(into: &writer)
        var flows: [ConntrackFlow] = []
        _ = try connection.dumpOnce(
            NetlinkRequest(type: Message.get, body: writer.bytes, subject: "list tracked flows")
        ) { message in
            if let flow = ConntrackFlow(message), filter.matches(flow) { flows.append(flow) }
        }
        return flows
    }

    /// Forgets these flows; how many were still there. A later packet of one starts anew, through NAT.
    @discardableResult
    public func delete(_ flows: [ConntrackFlow]) throws(NetlinkError) -> Int {
        let results = try connection.exchange(
            flows.map { flow in
                var writer = NetlinkWriter()
                writer.netfilterHeader(flow.original.destination.family == .v4 ? 2 : 10)
                writer.nest(CTA.original) { flow.original.encode(into: &$0) }
                // The id keeps a new flow of the same tuple from being hit.
                if flow.id != 0 { writer.attribute(CTA.id, bigEndian: flow.id) }
                if flow.zone != 0 { writer.attribute(CTA.zone, bigEndian: flow.zone) }
                return NetlinkRequest(type: Message.delete, body: writer.bytes, subject: "forget a tracked flow")
            })
        var deleted = 0
        for result in results {
            switch result {
            case .success: deleted += 1
            case .failure(let error): if error.errno != ENOENT { throw error }
            }
        }
        return deleted
    }

    /// How many flows the kernel tracks now.
    public func count() throws(NetlinkError) -> Int {
        var writer = NetlinkWriter()
        writer.netfilterHeader(0)
        let replies = try connection.perform(
            NetlinkRequest(type: Message.statistics, body: writer.bytes, subject: "count tracked flows"))
        for reply in replies {
            let count = reply.payload.withUnsafeBytes { bytes in
                bytes.count < NFNL.headerSize
                    ? nil
                    : NetlinkAttributes(UnsafeRawBufferPointer(rebasing: bytes[NFNL.headerSize...])).first(1)?
                        .u32BigEndian
            }
            if let count { return Int(count) }
        }
        throw NetlinkError(errno: EBADMSG, subject: "count tracked flows")
    }
}
