import Bytes
import COpenSSL

/// One TLS connection without I/O: ciphertext in, plaintext and ciphertext out. Belongs to one loop.
///
/// The caller feeds what the socket delivered into `receive`, which hands plaintext to a callback, and after every call
/// sends what `withOutput` shows. An idle session holds no buffers of its own; OpenSSL's are released with each record. A
/// server's session of TLS 1.3 gives all of OpenSSL's memory back once the handshake is done: see `EstablishedRecords`.
public final class TLSSession {
    /// What the other side showed of itself, once the handshake is done.
    public struct Peer: Sendable {
        /// Leaf first, as sent; empty if no certificate was asked for or shown.
        public var chain: [Certificate]
        /// The chain passed all checks. Always so where there is one, unless the context accepts untrusted peers.
        public var isTrusted: Bool
        /// The name the client asked for.
        public var serverName: String?
        public var negotiatedProtocol: String?
        /// "TLSv1.3" and the like.
        public var version: String
        /// The session was resumed, so the certificate was checked in an earlier connection.
        public var isResumed: Bool
    }

    private let context: TLSContext
    /// nil once `records` has taken over.
    private(set) var raw: OpaquePointer?
    private(set) var records: EstablishedRecords?
    /// Where the BIO finds input and leaves output; on the heap because OpenSSL keeps its address.
    private let ends: UnsafeMutablePointer<Ends>
    public private(set) var isEstablished = false
    /// The peer said that it will send no more (close_notify).
    public private(set) var isPeerClosed = false
    private var hasSentClose = false
    private var failure: TLSError?

    /// - Parameters:
    ///   - serverName: for a client: the name to ask for and to check, or an address in text form, which is checked only.
    ///   - checkedName: for a client: what the server's certificate has to be for, in place of `serverName`, whether the
    ///     context checks names or not.
    ///   - offering: for a client: what ALPN offers instead of the context's protocols; empty for those.
    ///   - resuming: a ticket from `takeTicket` of an earlier session with the same server; a context that stores tickets
    ///     needs none.
    ///   - logsKeys: the context's key log, if it has one, is told this session's secrets.
    public init(
        _ context: TLSContext, serverName: String? = nil, checkedName: String? = nil, offering: [String] = [],
        resuming: TLSTicket? = nil,
        logsKeys: Bool = true
    ) throws(TLSError) {
        guard let raw = SSL_new(context.raw) else { throw .fromQueue(.library, "cannot start a TLS session") }
        guard let bio = BIO_new(bufferBIO) else {
            SSL_free(raw)
            throw .fromQueue(.library, "cannot start a TLS session")
        }
        self.context = context
        self.raw = raw
        ends = .allocate(capacity: 1)
        ends.initialize(to: Ends(logsKeys: logsKeys))
        weft_ssl_set_object(raw, ends)
        BIO_set_data(bio, ends)
        BIO_set_init(bio, 1)
        SSL_set_bio(raw, bio, bio)
        switch context.role {
        case .server: SSL_set_accept_state(raw)
        case .client:
            SSL_set_connect_state(raw)
            if let serverName { try ask(for: serverName) }
            if let name = checkedName ?? (context.verifiesName ? serverName : nil) { try expect(name) }
            if !offering.isEmpty { try offer(offering) }
            if let ticket = resuming ?? context.tickets?.take(server: serverName ?? "") {
                SSL_set_session(raw, ticket.raw)
            }
        }
    }

    deinit {
        // A connection that ends without close_notify ends no session (RFC 8446 §6.1), but OpenSSL would let nobody resume it.
        if let raw {
            if isEstablished, failure == nil { SSL_set_shutdown(raw, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
            SSL_free(raw)
        }
        ends.pointee.output.deallocate()
        ends.deinitialize(count: 1)
        ends.deallocate()
    }

    private func ask(for name: String) throws(TLSError) {
        // RFC 6066 §3 has no addresses.
        guard IPAddress(name) == nil else { return }
        guard weft_ssl_set_server_name(raw, name) == 1 else {
            throw .fromQueue(.configuration, "\"\(name)\" is not a server name")
        }
    }

    private func expect(_ name: String) throws(TLSError) {
        if IPAddress(name) != nil {
            guard X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(raw), name) == 1 else {
                throw .fromQueue(.configuration, "cannot check for address \(name)")
            }
        } else {
            guard SSL_set1_host(raw, name) == 1 else {
                throw .fromQueue(.configuration, "\"\(name)\" is not a server name")
            }
        }
    }

    private func offer(_ protocols: [String]) throws(TLSError) {
        let list = try ProtocolList(protocols, mismatch: .proceed)
        // Unlike the rest of OpenSSL, this call returns 0 for success.
        guard list.withBytes({ SSL_set_alpn_protos(raw, $0.baseAddress, UInt32($0.count)) }) == 0 else {
            throw .fromQueue(.library, "cannot offer protocols \(protocols)")
        }
    }

    /// Starts a client's handshake: leaves the first flight in the output. A server needs no call.
    public func start() throws(TLSError) { try handshake() }

    /// Takes ciphertext; calls `plaintext` with every piece that it opens, for the callback's duration only.
    ///
    /// `plaintext` returns whether it wants more now. After `false` the rest stays unread: the caller keeps
    /// `bytes` from the returned count on and offers them again later (an empty buffer is fine if all were taken).
    ///
    /// What follows the peer's close_notify is taken, and ignored.
    ///
    /// - Returns: how many bytes were taken.
    /// - Throws: the handshake or the connection failed; send the output (an alert explains it to the peer) and close.
    public func receive(
        _ bytes: UnsafeRawBufferPointer, plaintext: (UnsafeRawBufferPointer) -> Bool
    ) throws(TLSError) -> Int {
        if let failure { throw failure }
        guard !isPeerClosed else { return bytes.count }
        ends.pointee.input = bytes
        ends.pointee.taken = 0
        defer { ends.pointee.input = UnsafeRawBufferPointer(start: nil, count: 0) }
        if !isEstablished {
            try handshake()
            guard isEstablished else { return ends.pointee.taken }
        }
        if let records {
            let outcome = records.receive(bytes, taken: &ends.pointee.taken, plaintext: plaintext)
            try heed(outcome, records)
            return ends.pointee.taken
        }
        try withUnsafeTemporaryBuffer(of: Self.recordSize) { (scratch) throws(TLSError) in
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

    /// Seals plaintext into the output. Before the handshake is done, and after `sendClose`, nothing is taken: as with a
    /// socket, whoever writes may learn of the end later than whoever closes.
    ///
    /// - Returns: how many bytes were taken: all, or none.
    /// - Throws: the connection has failed.
    public func send(_ bytes: UnsafeRawBufferPointer) throws(TLSError) -> Int {
        if let failure { throw failure }
        guard isEstablished, !hasSentClose, !bytes.isEmpty else { return 0 }
        // One allocation, whatever the number of records.
        ends.pointee.output.reserve(bytes.count + (bytes.count / Self.recordSize + 1) * Self.recordOverhead)
        if let records {
            guard records.send(bytes, into: &ends.pointee.output) else { throw fail(.connection, "cannot encrypt") }
            return bytes.count
        }
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
        guard isEstablished, failure == nil, !hasSentClose else { return }
        hasSentClose = true
        if let records {
            records.sendAlert(1, 0, into: &ends.pointee.output)
        } else {
            SSL_shutdown(raw)
        }
        ERR_clear_error()
    }

    /// Whether ciphertext waits to be sent.
    @inline(__always) public var hasOutput: Bool { ends.pointee.output.count > 0 }

    /// Shows the waiting ciphertext; `body` returns how many bytes of it are on their way.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        guard hasOutput else { return }
        ends.pointee.output.removeFirst(body(ends.pointee.output.bytes))
    }

    /// What a client needs to resume; nil until the server has sent a ticket (with TLS 1.3: after the first data).
    public func takeTicket() -> TLSTicket? {
        guard context.role == .client, isEstablished, let raw, let session = SSL_get1_session(raw) else { return nil }
        guard SSL_SESSION_is_resumable(session) == 1 else {
            SSL_SESSION_free(session)
            return nil
        }
        return TLSTicket(owning: session)
    }

    private func handshake() throws(TLSError) {
        let before = ends.pointee.output.count
        let result =
            context.role == .server
            ? KeySchedule.observed(by: ends) { SSL_do_handshake(raw) } : SSL_do_handshake(raw)
        if result == 1 {
            isEstablished = true
            if context.role == .server { takeOver(outputBefore: before) }
            return
        }
        switch SSL_get_error(raw, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
        default:
            if let refusal = ends.pointee.refusal {
                throw fail(.untrustedPeer, "the peer's certificate is not accepted", refusal)
            }
            throw fail(.handshake, "the TLS handshake failed")
        }
    }

    /// Goes on without OpenSSL where that is possible. The server's last step of the handshake has sealed its tickets with the
    /// new key, and nothing else.
    private func takeOver(outputBefore before: Int) {
        defer { ends.pointee.secrets = TrafficSecrets() }
        guard let raw else { return }
        var tickets: UInt64 = 0
        var cursor = ByteCursor(UnsafeRawBufferPointer(rebasing: ends.pointee.output.bytes.dropFirst(before)))
        while cursor.skip(3), let length = cursor.readUInt16(), cursor.skip(Int(length)) { tickets += 1 }
        records = EstablishedRecords(raw, ends.pointee.secrets, written: tickets)
        // What failed here must not be taken for a failure of the next call.
        guard records != nil else { return ERR_clear_error() }
        SSL_set_shutdown(raw, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        SSL_free(raw)
        self.raw = nil
    }

    private func heed(_ outcome: EstablishedRecords.Outcome, _ records: EstablishedRecords) throws(TLSError) {
        switch outcome {
        case .fine: return
        case .peerClosed: isPeerClosed = true
        case .broken(let reason, let alert):
            // Nothing follows close_notify.
            if let alert, !hasSentClose { records.sendAlert(2, alert, into: &ends.pointee.output) }
            ERR_clear_error()
            var error = TLSError(.connection, "the peer broke the TLS connection: \(reason)")
            error.transportReason = TransportFailure.text([reason])
            failure = error
            throw error
        }
    }

    private func fail(_ kind: TLSError.Kind, _ what: String, _ refusal: Refusal? = nil) -> TLSError {
        let reasons = takeErrorReasons()
        let reason = refusal.map(explain) ?? reasons.joined(separator: "; ")
        var error = TLSError(kind, reason.isEmpty ? what : "\(what): \(reason)")
        error.refusal = refusal?.kind
        let names = reasons.map(TransportFailure.nameOfReason)
        error.transportReason = TransportFailure.text(names, detail: refusal?.reason ?? "")
        if names.contains("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
            error.kind = .untrustedPeer
            error.refusal = .noCertificate
        }
        failure = error
        return error
    }

    private func explain(_ refusal: Refusal) -> String {
        let verdict = SSL_get_verify_result(raw)
        let isOurs = verdict == Int(X509_V_ERR_CERT_REJECTED) || verdict == Int(X509_V_ERR_APPLICATION_VERIFICATION)
        var text = isOurs ? refusal.reason : String(cString: X509_verify_cert_error_string(verdict))
        if let certificate = peerCertificate {
            text += " (subject \(certificate.subject), issuer \(certificate.issuer)"
            text += ", valid until \(certificate.notAfter.rfc3339)"
            if refusal.kind == .name {
                let names = certificate.alternativeNames
                let all = names.dns + names.addresses.map(\.description) + names.uris + names.emails
                text += ", names \(all.joined(separator: " "))"
            }
            text += ")"
        }
        return text
    }

    /// Plaintext of a record (RFC 8446 §5.1): it is opened and sealed in such pieces.
    private static let recordSize = 16 << 10
    /// What a record adds to its plaintext, at most: header, type, tag, and an explicit nonce before TLS 1.3.
    private static let recordOverhead = 5 + 1 + 16 + 8

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
