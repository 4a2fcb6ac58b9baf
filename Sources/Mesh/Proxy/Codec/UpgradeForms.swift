import HTTP

/// An upgrade, such as WebSocket's, in the form that streams carry: HTTP/1's, `GET` with `upgrade` and `connection`, answered by
/// 101. HTTP/2 says the same by an extended CONNECT, answered by 200 (RFC 8441 §4, §5).
extension HeaderBlock {
    /// A request that came by HTTP/2 as an extended CONNECT.
    func becomeHTTP1Upgrade() {
        setMethod(.get, ("GET" as StaticString).bytes)
        set(.upgrade, bytes(protocolRange))
        set(.connection, "upgrade")
        setProtocol(UnsafeRawBufferPointer(start: nil, count: 0))
        remove(.contentLength)
    }

    /// A request on its way to an HTTP/2 upstream. False when it is no upgrade.
    func becomeExtendedConnect() -> Bool {
        guard let kind = value(.upgrade) else { return false }
        setProtocol(kind)
        setMethod(.connect, ("CONNECT" as StaticString).bytes)
        remove(.upgrade)
        remove(.connection)
        return true
    }

    /// An HTTP/2 upstream's consent.
    func becomeSwitchingProtocols(_ kind: UnsafeRawBufferPointer) {
        status = 101
        set(.upgrade, kind)
        set(.connection, "upgrade")
    }
}
