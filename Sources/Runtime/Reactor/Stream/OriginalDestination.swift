import Bytes
import Glibc

extension StreamSocket {
    /// Where the client meant to go, before netfilter's DNAT or REDIRECT brought the connection here (`SO_ORIGINAL_DST`);
    /// nil when it was not translated, or conntrack does not know it.
    ///
    /// A connection that TPROXY brought has its destination in `local`. One or two system calls; on the loop.
    public var originalDestination: IPEndpoint? {
        guard isConnectedIP else { return nil }
        // A dual-stack socket's IPv4 connection is asked for as IPv4: conntrack knows it by that.
        let isV4 = peer.address?.unmapped.family == .v4
        return Self.originalDestination(descriptor, isV4 ? (SOL_IP_, AF_INET) : (SOL_IPV6_, AF_INET6))
    }

    private var isConnectedIP: Bool { descriptor >= 0 && peer.address != nil }

    /// `SO_ORIGINAL_DST` (netfilter_ipv4.h) and `IP6T_SO_ORIGINAL_DST` (netfilter_ipv6/ip6_tables.h) have one number.
    private static func originalDestination(_ fd: CInt, _ kind: (level: CInt, family: CInt)) -> IPEndpoint? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        guard getsockopt(fd, kind.level, 80, &storage, &length) == 0 else { return nil }
        return storage.endpoint
    }
}

private let SOL_IP_: CInt = 0
private let SOL_IPV6_: CInt = 41
