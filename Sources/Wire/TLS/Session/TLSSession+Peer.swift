import Bytes
import COpenSSL

/// What a session knows of both sides. Each is asked for when it is needed; who needs one for every request keeps it.
/// Meaningful once `isEstablished`.
extension TLSSession {
    /// Who the peer is, all at once.
    public var peer: Peer {
        Peer(
            chain: peerChain, isTrusted: isPeerTrusted, serverName: serverName, negotiatedProtocol: negotiatedProtocol,
            version: version, isResumed: isResumed)
    }

    /// The certificate that the peer showed, also in the session that is resumed.
    public var peerCertificate: Certificate? { peerChain.first }

    public var hasPeerCertificate: Bool { live?.hasPeerCertificate ?? (facts?.peerChain.isEmpty == false) }

    /// All that the peer sent, leaf first.
    public var peerChain: [Certificate] {
        live?.peerChain ?? facts?.peerChain.compactMap { try? Certificate(der: $0) } ?? []
    }

    /// The peer showed a certificate, and it passed all checks.
    public var isPeerTrusted: Bool { live?.isPeerTrusted ?? facts?.isPeerTrusted ?? false }

    /// The certificate that this side showed.
    public var localCertificate: Certificate? {
        if let live { live.localCertificate } else { facts?.localCertificate }
    }

    /// The name that the client asked for.
    public var serverName: String? {
        if let live { live.serverName } else { facts?.serverName }
    }

    public var negotiatedProtocol: String? {
        withNegotiatedProtocol { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) }
    }

    /// ALPN's outcome without a copy; empty for none.
    public func withNegotiatedProtocol<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        if let live { return live.withNegotiatedProtocol(body) }
        return (facts?.negotiatedProtocol ?? []).withUnsafeBytes(body)
    }

    /// "TLSv1.3" and the like.
    public var version: String { raw.map { String(cString: weft_ssl_version($0)) } ?? "TLSv1.3" }

    /// "TLS_AES_128_GCM_SHA256" and the like.
    public var cipherName: String {
        let cipher = raw.map { SSL_get_current_cipher($0) } ?? facts?.cipher
        return cipher.flatMap(SSL_CIPHER_get_name).map { String(cString: $0) } ?? ""
    }

    /// In lower-case hexadecimal; empty where the protocol has none.
    public var sessionID: String { Hex.encode(live?.sessionID ?? facts?.sessionID ?? []) }

    /// The session was resumed, so the certificate was checked in an earlier connection.
    public var isResumed: Bool { live?.isResumed ?? facts?.isResumed ?? false }

    private var live: LiveFacts? { raw.map(LiveFacts.init(raw:)) }
    private var facts: HandshakeFacts? { records?.facts }
}
