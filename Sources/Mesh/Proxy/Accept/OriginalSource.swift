import Bytes
import Reactor

/// The client's address, from which connections to hosts are to come instead of the proxy's own (`original_src` of listeners and of HTTP).
///
/// The socket is bound to an address that is not this machine's (IP_TRANSPARENT), and its mark lets routes bring the answers back: both
/// need CAP_NET_ADMIN. Hosts' connections are kept apart by it.
struct OriginalSource: Hashable, Sendable {
    var address: SocketAddress
    /// 0 for none.
    var mark: UInt32

    /// nil for a client that has no IP address.
    ///
    /// Without its port, the kernel chooses one by itself as it binds: of the other parity than it gives those who connect. So the connection
    /// hardly ever has the same ends as the client's own one, which comes from the same address to the same host.
    init?(of client: SocketAddress, keepsPort: Bool = false, mark: UInt32) {
        guard case .ip(let address, let port, let scope) = client else { return nil }
        self.address = .ip(address.unmapped, keepsPort ? port : Port(rawValue: 0), scope: scope)
        self.mark = mark
    }

    var socketOptions: [SocketOption] { mark == 0 ? [.transparent] : [.transparent, .mark(mark)] }
}

extension HTTPStream {
    /// Where its connections to hosts are to come from; nil: from the proxy.
    var source: OriginalSource? { upstreamSource ?? connection?.origin.source }
}
