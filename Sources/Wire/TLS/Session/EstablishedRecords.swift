import Bytes
import COpenSSL

/// A server's TLS 1.3 connection after its handshake, without OpenSSL's `SSL`: the records, and what is worth remembering of
/// the handshake. Belongs to one session.
final class EstablishedRecords {
    /// What happened while bytes were taken.
    enum Outcome {
        /// All bytes were taken, or the reader has enough.
        case fine
        case peerClosed
        /// The connection has failed; an alert with this number explains it to the peer.
        case broken(reason: String, alert: UInt8?)
    }

    let facts: HandshakeFacts
    private var reading: RecordProtection
    private var writing: RecordProtection
    /// The beginning of a record whose end has not come.
    private var partial = GrowingBytes()

    /// What a record of this connection carries at most: less than usual where the client asked for that (RFC 6066 §4).
    private let recordSize: Int
    /// Records that the server seals under one key.
    var recordsOfAKey = RecordProtection.recordsOfAKey
    /// The client asked for a new key of ours, which it sees with the next data: it may ask as often as it likes meanwhile.
    private var owesKeyUpdate = false

    /// Takes the connection over from `raw`, which may be freed then; nil leaves it where it is.
    ///
    /// - Parameter written: records that the server has sealed with its new key already (its tickets).
    init?(_ raw: OpaquePointer, _ secrets: TrafficSecrets, written: UInt64) {
        guard SSL_version(raw) == TLS1_3_VERSION, SSL_is_server(raw) == 1, SSL_has_pending(raw) == 0,
            let cipher = SSL_get_current_cipher(raw),
            let suite = RecordProtection.Suite(SSL_CIPHER_get_protocol_id(cipher)),
            let client = secrets.client, let server = secrets.server,
            let reading = RecordProtection.make(suite, secret: client, sealing: false, sequence: 0),
            let writing = RecordProtection.make(suite, secret: server, sealing: true, sequence: written)
        else { return nil }
        self.reading = reading
        self.writing = writing
        recordSize = Self.recordSize(SSL_get_session(raw))
        facts = HandshakeFacts(raw)
    }

    private static func recordSize(_ session: OpaquePointer?) -> Int {
        guard let session, case let code = SSL_SESSION_get_max_fragment_length(session), 1...4 ~= code else {
            return RecordProtection.recordSize
        }
        return 256 << Int(code)
    }

    deinit { partial.deallocate() }

    // MARK: Output

    /// Seals all bytes; false: the library failed.
    func send(_ bytes: UnsafeRawBufferPointer, into output: inout GrowingBytes) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            if owesKeyUpdate || writing.sequence >= recordsOfAKey {
                guard updateWriting(into: &output) else { return false }
            }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(recordSize))
            guard writing.seal(piece, RecordProtection.ContentType.data, into: &output) else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
        }
        return true
    }

    func sendAlert(_ level: UInt8, _ alert: UInt8, into output: inout GrowingBytes) {
        withUnsafeBytes(of: (level, alert)) {
            _ = writing.seal($0, RecordProtection.ContentType.alert, into: &output)
        }
    }

    /// Tells the peer of a new key, and takes it (RFC 8446 §4.6.3).
    private func updateWriting(into output: inout GrowingBytes) -> Bool {
        owesKeyUpdate = false
        let message: (UInt8, UInt8, UInt8, UInt8, UInt8) = (Self.keyUpdate, 0, 0, 1, 0)
        return withUnsafeBytes(of: message) { writing.seal($0, RecordProtection.ContentType.handshake, into: &output) }
            && writing.update()
    }

    // MARK: Input

    /// Takes ciphertext, whole records where they stand and pieces of one until it is whole; adds to `taken`. `plaintext`
    /// may send meanwhile. After any outcome but `fine` there is nothing more to take.
    func receive(
        _ bytes: UnsafeRawBufferPointer, taken: inout Int, plaintext: (UnsafeRawBufferPointer) -> Bool
    ) -> Outcome {
        withUnsafeTemporaryAllocation(byteCount: RecordProtection.largestCiphertext, alignment: 16) { scratch in
            while taken < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                if partial.isEmpty, let size = Self.recordSize(rest), size <= rest.count {
                    taken += size
                    let record = UnsafeRawBufferPointer(rebasing: rest[..<size])
                    guard let end = take(record, scratch, plaintext) else { continue }
                    return end
                }
                taken += collect(rest)
                guard let size = Self.recordSize(partial.bytes) else { continue }
                // What cannot be is not waited for.
                if let flaw = Self.flaw(ofHeader: partial.bytes) { return flaw }
                guard partial.count == size else { continue }
                let end = take(partial.bytes, scratch, plaintext)
                partial.removeFirst(size)
                if let end { return end }
            }
            return .fine
        }
    }

    /// Moves as much into `partial` as its record lacks.
    private func collect(_ rest: UnsafeRawBufferPointer) -> Int {
        let lacks =
            if let size = Self.recordSize(partial.bytes) {
                size - partial.count
            } else {
                RecordProtection.headerSize - partial.count
            }
        let piece = rest.prefix(lacks)
        partial.append(UnsafeRawBufferPointer(rebasing: piece))
        return piece.count
    }

    /// Header and body; nil when the header is not whole.
    private static func recordSize(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= RecordProtection.headerSize else { return nil }
        return RecordProtection.headerSize + (Int(bytes[3]) << 8 | Int(bytes[4]))
    }

    private static func flaw(ofHeader header: UnsafeRawBufferPointer) -> Outcome? {
        // After the handshake all records are protected, and say so: no more ChangeCipherSpec for middleboxes (§5).
        guard header[0] == RecordProtection.ContentType.data else {
            return .broken(reason: "UNEXPECTED_RECORD", alert: Alert.unexpectedMessage)
        }
        guard let size = recordSize(header), size <= RecordProtection.headerSize + RecordProtection.largestCiphertext
        else {
            return .broken(reason: "ENCRYPTED_LENGTH_TOO_LONG", alert: Alert.recordOverflow)
        }
        return nil
    }

    /// nil: go on.
    private func take(
        _ record: UnsafeRawBufferPointer, _ scratch: UnsafeMutableRawBufferPointer,
        _ plaintext: (UnsafeRawBufferPointer) -> Bool
    ) -> Outcome? {
        if let flaw = Self.flaw(ofHeader: record) { return flaw }
        guard let (type, content) = reading.open(record, into: scratch) else {
            return .broken(reason: "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", alert: Alert.badRecordMAC)
        }
        guard content.count <= recordSize else {
            return .broken(reason: "DATA_LENGTH_TOO_LONG", alert: Alert.recordOverflow)
        }
        // A message in pieces has no other records between them (§5.1).
        guard type == RecordProtection.ContentType.handshake || messageTaken == 0 else { return Self.unexpected() }
        let flood: String
        switch type {
        case RecordProtection.ContentType.data:
            guard content.isEmpty else {
                recordsWithoutData = 0
                return plaintext(content) ? nil : .fine
            }
            flood = "TOO_MANY_EMPTY_FRAGMENTS"
        case RecordProtection.ContentType.alert:
            if let end = takeAlert(content) { return end }
            flood = "TOO_MANY_WARNING_ALERTS"
        case RecordProtection.ContentType.handshake:
            if let end = takeHandshake(content) { return end }
            flood = "TOO_MANY_KEY_UPDATES"
        default: return Self.unexpected()
        }
        recordsWithoutData += 1
        return recordsWithoutData <= Self.recordsWithoutDataAllowed ? nil : Self.unexpected(flood)
    }

    private func takeAlert(_ content: UnsafeRawBufferPointer) -> Outcome? {
        guard !content.isEmpty else { return Self.unexpected() }
        guard content.count == 2 else { return .broken(reason: "BAD_ALERT", alert: Alert.decodeError) }
        switch content[1] {
        case Alert.closeNotify: return .peerClosed
        // Announces close_notify, and ends nothing by itself; Java's clients send it.
        case Alert.userCanceled: return nil
        // All others are fatal, whatever level they claim (§6.2).
        case let alert: return .broken(reason: TransportFailure.name(ofAlert: alert), alert: nil)
        }
    }

    /// Of a client's messages after the handshake only KeyUpdate is allowed: in pieces, but with nothing behind it, since what
    /// follows is sealed under the new key (§5.1).
    private func takeHandshake(_ content: UnsafeRawBufferPointer) -> Outcome? {
        guard !content.isEmpty else { return Self.unexpected() }
        for byte in content {
            // Type, length in three bytes, and whether we shall change our key too.
            switch (messageTaken, byte) {
            case (0, Self.keyUpdate), (1, 0), (2, 0), (3, 1), (4, 0): break
            case (4, 1): owesKeyUpdate = true
            case (4, _): return .broken(reason: "BAD_KEY_UPDATE", alert: Alert.illegalParameter)
            default: return Self.unexpected()
            }
            messageTaken += 1
        }
        guard messageTaken == 5 else { return nil }
        messageTaken = 0
        return reading.update() ? nil : .broken(reason: "INTERNAL_ERROR", alert: Alert.internalError)
    }

    private static func unexpected(_ reason: String = "UNEXPECTED_MESSAGE") -> Outcome {
        .broken(reason: reason, alert: Alert.unexpectedMessage)
    }

    /// Bytes that have come of a KeyUpdate in pieces.
    private var messageTaken = 0
    private var recordsWithoutData = 0
    /// In a row: they cost us more than the client. BoringSSL's and OpenSSL's bound.
    static let recordsWithoutDataAllowed = 32
    private static let keyUpdate: UInt8 = 24

    private enum Alert {
        static let closeNotify: UInt8 = 0
        static let unexpectedMessage: UInt8 = 10
        static let badRecordMAC: UInt8 = 20
        static let recordOverflow: UInt8 = 22
        static let illegalParameter: UInt8 = 47
        static let decodeError: UInt8 = 50
        static let internalError: UInt8 = 80
        static let userCanceled: UInt8 = 90
    }
}
