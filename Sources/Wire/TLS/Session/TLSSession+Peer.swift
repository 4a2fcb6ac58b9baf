import Bytes
import COpenSSL

/// What a session knows of both sides. Each is asked of OpenSSL when it is asked for; who needs one for every request keeps
/// it. Meaningful once `isEstablished`.
extension TLSSession {
    /// Who the peer is, all at once.
    public var peer: Peer {
        Peer(
            chain: peerChain, isTrusted: isPeerTrusted, serverName: serverName, negotiatedProtocol: negotiatedProtocol,
            version: version, isResumed: isResumed)
    }

    /// The certificate that the peer showed, also in the session that is resumed.
    public var peerCertificate: Certificate? {
        SSL_get1_peer_certificate(raw).map { Certificate(handle: CertificateHandle(owning: $0)) }
    }

    public var hasPeerCertificate: Bool { SSL_get0_peer_certificate(raw) != nil }

    /// All that the peer sent, leaf first.
    public var peerChain: [Certificate] {
        guard let leaf = peerCertificate else { return [] }
        var chain = [leaf]
        guard let sent = SSL_get_peer_cert_chain(raw) else { return chain }
        for index in 0..<weft_stack_count_x509(sent) {
            guard let next = weft_stack_x509(sent, index), X509_cmp(next, leaf.handle.raw) != 0, X509_up_ref(next) == 1
            else { continue }
            chain.append(Certificate(handle: CertificateHandle(owning: next)))
        }
        return chain
    }

    /// The peer showed a certificate, and it passed all checks.
    public var isPeerTrusted: Bool { hasPeerCertificate && SSL_get_verify_result(raw) == Int(X509_V_OK) }

    /// The certificate that this side showed.
    public var localCertificate: Certificate? {
        guard let raw = SSL_get_certificate(raw), X509_up_ref(raw) == 1 else { return nil }
        return Certificate(handle: CertificateHandle(owning: raw))
    }

    /// The name that the client asked for.
    public var serverName: String? { SSL_get_servername(raw, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } }

    public var negotiatedProtocol: String? {
        withNegotiatedProtocol { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) }
    }

    /// ALPN's outcome without a copy; empty for none.
    public func withNegotiatedProtocol<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(raw, &name, &count)
        return body(UnsafeRawBufferPointer(start: name, count: Int(count)))
    }

    /// "TLSv1.3" and the like.
    public var version: String { String(cString: weft_ssl_version(raw)) }

    /// "TLS_AES_128_GCM_SHA256" and the like.
    public var cipherName: String {
        SSL_get_current_cipher(raw).flatMap(SSL_CIPHER_get_name).map { String(cString: $0) } ?? ""
    }

    /// In lower-case hexadecimal; empty where the protocol has none.
    public var sessionID: String {
        guard let session = SSL_get_session(raw) else { return "" }
        var count: UInt32 = 0
        guard let bytes = SSL_SESSION_get_id(session, &count) else { return "" }
        return Hex.encode(UnsafeBufferPointer(start: bytes, count: Int(count)))
    }

    /// The session was resumed, so the certificate was checked in an earlier connection.
    public var isResumed: Bool { SSL_session_reused(raw) == 1 }
}
