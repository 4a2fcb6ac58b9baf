import COpenSSL

/// What is worth remembering of a handshake when OpenSSL's own memory of it is given back: small, and certificates of the
/// peer's in DER, since parsed ones are several times as large.
struct HandshakeFacts {
    let peerChain: [[UInt8]]
    let isPeerTrusted: Bool
    let serverName: String?
    let negotiatedProtocol: [UInt8]
    /// OpenSSL's table entry, which lives for ever.
    let cipher: OpaquePointer?
    let sessionID: [UInt8]
    let isResumed: Bool
    let localCertificate: Certificate?

    init(_ raw: OpaquePointer) {
        let session = LiveFacts(raw: raw)
        peerChain = session.hasPeerCertificate ? session.peerChain.map(\.der) : []
        isPeerTrusted = session.isPeerTrusted
        serverName = session.serverName
        negotiatedProtocol = session.withNegotiatedProtocol { Array($0) }
        cipher = SSL_get_current_cipher(raw)
        sessionID = session.sessionID
        isResumed = session.isResumed
        localCertificate = session.localCertificate
    }
}

/// The same, asked of an `SSL` that is there.
struct LiveFacts {
    let raw: OpaquePointer

    var hasPeerCertificate: Bool { SSL_get0_peer_certificate(raw) != nil }

    /// All that the peer sent, leaf first.
    var peerChain: [Certificate] {
        guard let handle = SSL_get1_peer_certificate(raw) else { return [] }
        let leaf = Certificate(handle: CertificateHandle(owning: handle))
        var chain = [leaf]
        guard let sent = SSL_get_peer_cert_chain(raw) else { return chain }
        for index in 0..<weft_stack_count_x509(sent) {
            guard let next = weft_stack_x509(sent, index), X509_cmp(next, leaf.handle.raw) != 0, X509_up_ref(next) == 1
            else { continue }
            chain.append(Certificate(handle: CertificateHandle(owning: next)))
        }
        return chain
    }

    var isPeerTrusted: Bool { hasPeerCertificate && SSL_get_verify_result(raw) == Int(X509_V_OK) }

    var localCertificate: Certificate? {
        guard let raw = SSL_get_certificate(raw), X509_up_ref(raw) == 1 else { return nil }
        return Certificate(handle: CertificateHandle(owning: raw))
    }

    var serverName: String? { SSL_get_servername(raw, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } }

    func withNegotiatedProtocol<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(raw, &name, &count)
        return body(UnsafeRawBufferPointer(start: name, count: Int(count)))
    }

    var sessionID: [UInt8] {
        guard let session = SSL_get_session(raw) else { return [] }
        var count: UInt32 = 0
        guard let bytes = SSL_SESSION_get_id(session, &count) else { return [] }
        return Array(UnsafeBufferPointer(start: bytes, count: Int(count)))
    }

    var isResumed: Bool { SSL_session_reused(raw) == 1 }
}
