// Security: how connections are protected, on both sides: TLS contexts from configuration and secrets, and what is told of a
// peer's certificate. The protocol itself is Wire/TLS.

import TLS

/// How a listener's chain protects its connections.
package struct DownstreamSecurity: Sendable {
    let context: LiveTLSContext
    /// A client that asks for no name is refused.
    package var requiresServerName: Bool
}

/// How a cluster's connections are protected.
package struct UpstreamSecurity: Sendable {
    let context: LiveTLSContext
    /// The name to ask for; "" for none.
    package var serverName: String
    /// The endpoint's host name is asked for where it has one (`auto_host_sni`).
    package var usesHostname: Bool
    /// The context names the protocols that ALPN offers; else they are those of who connects.
    var namesProtocols = false

    /// For a connection to a host.
    ///
    /// - Parameters:
    ///   - requested: the name that requests over this connection have; nil where nobody asks for it.
    ///   - use: what is to be done with that name.
    func session(
        for host: Host, requested: String? = nil, _ use: RequestedNames? = nil
    ) throws(TLSError) -> TLSSession {
        let asked = use?.asks == true ? requested : nil
        return try context.session(
            serverName: asked ?? serverName(of: host), checkedName: use?.checksCertificates == true ? requested : nil)
    }

    /// The name that a connection to this host asks for.
    func serverName(of host: Host) -> String? {
        if usesHostname, !host.hostname.isEmpty { return host.hostname }
        return serverName.isEmpty ? nil : serverName
    }
}

/// What is around the protocol on the way to a host.
struct UpstreamTransport: Sendable {
    /// A PROXY header of this version tells the host of each connection who the client is.
    var proxyProtocol: ProxyProtocolHeader.Version?
    /// nil for plaintext.
    var security: UpstreamSecurity?
}
