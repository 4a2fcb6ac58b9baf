import Bytes
import COpenSSL

/// One TLS connection without I/O: ciphertext in, plaintext and ciphertext out. Belongs to one loop.
///
/// The caller feeds what the socket delivered into `receive`, which hands plaintext to a callback, and after every call
/// sends what `withOutput` shows. An idle session holds no buffers of its own; OpenSSL's are released with each record.
public final class TLSSession {
    /// What the other side showed of itself, once the handshake is done.
    public struct Peer: Sendable {
        /// Leaf first, as sent; empty if no certificate was asked for or shown. Trusted if not empty.
        public var chain: [Certificate]
        /// The name the client asked for.
        public var serverName: String?
        public var negotiatedProtocol: String?
        /// "TLSv1.3" and the like.
        public var version: String
        /// The session was resumed, so the certificate was checked in an earlier connection.
        public var isResumed: Bool
    }

    private let context: TLSContext
    private let raw: OpaquePointer
    /// Where the BIO finds input and leaves output; on the heap because OpenSSL keeps its address.
    private let ends: UnsafeMutablePointer<Ends>
    public private(set) var isEstablished = false
    /// The peer said that it will send no more (close_notify).
    public private(set) var isPeerClosed = false
    private var failure: TLSError?

    /// - Parameters:
    ///   - serverName: for a client: the name to ask for and to check, or an address in text form, which is checked only.
    ///   - resuming: a ticket from `takeTicket` of an earlier session with the same server.
    public init(_ context: TLSContext, serverName: String? = nil, resuming: TLSTicket? = nil) throws(TLSError) {
        guard let raw = SSL_new(context.raw) else { throw .fromQueue(.library, "cannot start a TLS session") }
        guard let bio = BIO_new(bufferBIO) else {
            SSL_free(raw)
            throw .fromQueue(.library, "cannot start a TLS session")
        }
        self.context = context
        self.raw = raw
        ends = .allocate(capacity: 1)
        ends.initialize(to: Ends())
        BIO_set_data(bio, ends)
        BIO_set_init(bio, 1)
        SSL_set_bio(raw, bio, bio)
        switch context.role {
        case .server: SSL_set_accept_state(raw)
        case .client:
            SSL_set_connect_state(raw)
            if let serverName { try expect(serverName) }
            if let resuming { SSL_set_session(raw, resuming.raw) }
        }
    }

    deinit {
        SSL_free(raw)
        ends.pointee.output.deallocate()
        ends.deinitialize(count: 1)
        ends.deallocate()
    }

    private func expect(_ name: String) throws(TLSError) {
        if IPAddress(name) != nil {
            guard !context.verifiesName || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(raw), name) == 1 else {
                throw .fromQueue(.configuration, "cannot check for address \(name)")
            }
        } else {
            guard weft_ssl_set_server_name(raw, name) == 1, !context.verifiesName || SSL_set1_host(raw, name) == 1
            else { throw .fromQueue(.configuration, "\"\(name)\" is not a server name") }
        }
    }

    /// Starts a client's handshake: leaves the first flight in the output. A server needs no call.
    public func start() throws(TLSError) { try handshake() }

    /// Takes ciphertext; calls `plaintext` with every piece that it opens, for the callback's duration only.
    ///
    /// `plaintext` returns whether it wants more now. After `false` the rest stays unread: the caller keeps
    /// `bytes` from the returned count on and offers them again later (an empty buffer is fine if all were taken).
    ///
    /// - Returns: how many bytes were taken.
    /// - Throws: the handshake or the connection failed; send the output (an alert explains it to the peer) and close.
    public func receive(
        _ bytes: UnsafeRawBufferPointer, plaintext: (UnsafeRawBufferPointer) -> Bool
    ) throws(TLSError) -> Int {
        if let failure { throw failure }
        ends.pointee.input = bytes
        ends.pointee.taken = 0
        defer { ends.pointee.input = UnsafeRawBufferPointer(start: nil, count: 0) }
        if !isEstablished {
            try handshake()
            guard isEstablished else { return ends.pointee.taken }
        }
        try withUnsafeTemporaryBuffer(of: Self.readSize) { (scratch) throws(TLSError) in
            while true {
                var count = 0
                guard SSL_read_ex(raw, scratch.baseAddress, scratch.count, &count) == 1 else {
                    switch SSL_get_error(raw, 0) {
                    case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
                    case SSL_ERROR_ZERO_RETURN:
                        isPeerClosed = true
                        return
                    default: throw fail(.connection, "the peer broke the TLS connection")
                    }
                }
                guard plaintext(UnsafeRawBufferPointer(rebasing: scratch[..<count])) else { return }
            }
        }
        return ends.pointee.taken
    }

    /// Seals plaintext into the output. Before the handshake is done nothing is taken.
    ///
    /// - Returns: how many bytes were taken: all, or none.
    public func send(_ bytes: UnsafeRawBufferPointer) throws(TLSError) -> Int {
        if let failure { throw failure }
        guard isEstablished, !bytes.isEmpty else { return 0 }
        var sent = 0
        while sent < bytes.count {
            var count = 0
            let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
            guard SSL_write_ex(raw, rest.baseAddress, rest.count, &count) == 1 else {
                throw fail(.connection, "cannot encrypt")
            }
            sent += count
        }
        return sent
    }

    /// Tells the peer that we will send no more.
    public func sendClose() {
        guard isEstablished, failure == nil else { return }
        _ = SSL_shutdown(raw)
        ERR_clear_error()
    }

    /// Whether ciphertext waits to be sent.
    @inline(__always) public var hasOutput: Bool { ends.pointee.output.count > 0 }

    /// Shows the waiting ciphertext; `body` returns how many bytes of it are on their way.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        guard hasOutput else { return }
        ends.pointee.output.removeFirst(body(ends.pointee.output.bytes))
    }

    /// Who the peer is. Meaningful once `isEstablished`.
    public var peer: Peer {
        var chain: [Certificate] = []
        if let leaf = SSL_get1_peer_certificate(raw) {
            chain.append(Certificate(handle: CertificateHandle(owning: leaf)))
            if let sent = SSL_get_peer_cert_chain(raw) {
                for index in 0..<weft_stack_count_x509(sent) {
                    guard let next = weft_stack_x509(sent, index), X509_cmp(next, leaf) != 0, X509_up_ref(next) == 1
                    else { continue }
                    chain.append(Certificate(handle: CertificateHandle(owning: next)))
                }
            }
        }
        return Peer(
            chain: chain, serverName: SSL_get_servername(raw, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) },
            negotiatedProtocol: negotiatedProtocol,
            version: String(cString: weft_ssl_version(raw)), isResumed: SSL_session_reused(raw) == 1)
    }

    public var negotiatedProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(raw, &name, &count)
        return name.map { String(decoding: UnsafeBufferPointer(start: $0, count: Int(count)), as: UTF8.self) }
    }

    /// What a client needs to resume; nil until the server has sent a ticket (with TLS 1.3: after the first data).
    public func takeTicket() -> TLSTicket? {
        guard context.role == .client, isEstablished, let session = SSL_get1_session(raw) else { return nil }
        guard SSL_SESSION_is_resumable(session) == 1 else {
            SSL_SESSION_free(session)
            return nil
        }
        return TLSTicket(owning: session)
    }

    private func handshake() throws(TLSError) {
        let result = SSL_do_handshake(raw)
        if result == 1 {
            isEstablished = true
            return
        }
        switch SSL_get_error(raw, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
        default:
            let verdict = SSL_get_verify_result(raw)
            if verdict != Int(X509_V_OK) {
                throw fail(.untrustedPeer, "the peer's certificate is not accepted", because: verifyText(verdict))
            }
            throw fail(.handshake, "the TLS handshake failed")
        }
    }

    private func verifyText(_ verdict: Int) -> String {
        var text = String(cString: X509_verify_cert_error_string(verdict))
        if let leaf = SSL_get1_peer_certificate(raw) {
            let certificate = Certificate(handle: CertificateHandle(owning: leaf))
            text += " (subject \(certificate.subject), issuer \(certificate.issuer)"
            text += ", valid until \(certificate.notAfter.rfc3339)"
            if verdict == Int(X509_V_ERR_HOSTNAME_MISMATCH) || verdict == Int(X509_V_ERR_IP_ADDRESS_MISMATCH) {
                let names = certificate.alternativeNames
                text += ", names \((names.dns + names.addresses.map(\.description)).joined(separator: " "))"
            }
            text += ")"
        }
        return text
    }

    private func fail(_ kind: TLSError.Kind, _ what: String, because: String? = nil) -> TLSError {
        let queue = takeErrorQueue()
        let reason = because ?? queue
        let error = TLSError(kind, reason.isEmpty ? what : "\(what): \(reason)")
        failure = error
        return error
    }

    /// Plaintext is opened in pieces of at most one record.
    private static let readSize = 16 << 10

    private func withUnsafeTemporaryBuffer(
        of size: Int, _ body: (UnsafeMutableRawBufferPointer) throws(TLSError) -> Void
    ) throws(TLSError) {
        var failure: TLSError?
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { buffer in
            do throws(TLSError) { try body(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}

/// What a client keeps to shorten its next handshake with the same server. Immutable; shared freely.
public final class TLSTicket: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { self.raw = raw }
    deinit { SSL_SESSION_free(raw) }
}

/// The two ends of a session's BIO: the caller's input, shown while `receive` runs, and a growing output.
struct Ends {
    var input = UnsafeRawBufferPointer(start: nil, count: 0)
    var taken = 0
    var output = GrowingBytes()
}

/// A BIO over `Ends`: no copy between a socket's buffer and OpenSSL's but the one that OpenSSL makes.
/// Made once and never freed; OpenSSL only reads it.
private nonisolated(unsafe) let bufferBIO: OpaquePointer? = {
    let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft buffers")
    BIO_meth_set_read(method) { bio, buffer, count in
        guard let bio, let buffer, count > 0 else { return 0 }
        weft_bio_clear_retry(bio)
        let ends = BIO_get_data(bio).assumingMemoryBound(to: Ends.self)
        let left = ends.pointee.input.count - ends.pointee.taken
        guard left > 0, let input = ends.pointee.input.baseAddress else {
            weft_bio_set_retry_read(bio)
            return -1
        }
        let take = min(left, Int(count))
        UnsafeMutableRawPointer(buffer).copyMemory(from: input + ends.pointee.taken, byteCount: take)
        ends.pointee.taken += take
        return CInt(take)
    }
    BIO_meth_set_write(method) { bio, buffer, count in
        guard let bio, let buffer, count > 0 else { return 0 }
        let ends = BIO_get_data(bio).assumingMemoryBound(to: Ends.self)
        ends.pointee.output.append(UnsafeRawBufferPointer(start: buffer, count: Int(count)))
        return count
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
    return method
}()
