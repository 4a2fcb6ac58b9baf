import TLS

/// A connection of a cluster that speaks what ALPN comes to: stands in until the handshake is done.
final class NegotiatedUpstream: UpstreamCodec {
    override func opened() {
        let speaksHTTP2 = connection.tlsSession?.negotiatedProtocol == "h2"
        let codec = speaksHTTP2 ? HTTP2Upstream(connection, pool) : HTTP1Upstream(connection, pool)
        connection.replaceTerminal(codec)
        pool.negotiated(isMultiplexed: speaksHTTP2)
        codec.opened()
    }

    override func closed(_ error: (any Error)?) { pool.failed(error, of: connection) }
}
