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

    /// Takes the connection over from `raw`, which may be freed then; nil leaves it where it is.
    ///
    /// - Parameter written: records that the server has sealed with its new key already (its tickets).
    init?(_ raw: OpaquePointer, _ secrets: TrafficSecrets, written: UInt64) {
        guard SSL_version(raw) == TLS1_3_VERSION, SSL_is_server(raw) == 1, let cipher = SSL_get_current_cipher(raw),
            let suite = RecordProtection.Suite(SSL_CIPHER_get_protocol_id(cipher)),
            let reading = RecordProtection.make(suite, secret: secrets.client, sealing: false, sequence: 0),
            let writing = RecordProtection.make(suite, secret: secrets.server, sealing: true, sequence: written)
        else { return nil }
        self.reading = reading
        self.writing = writing
        facts = HandshakeFacts(raw)
    }

    deinit { partial.deallocate() }

    // MARK: Output

    /// Seals all bytes; false: the library failed.
    func send(_ bytes: UnsafeRawBufferPointer, into output: inout GrowingBytes) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            if writing.sequence >= RecordProtection.recordsOfAKey {
                guard updateWriting(into: &output) else { return false }
            }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(RecordProtection.recordSize))
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
        let message: (UInt8, UInt8, UInt8, UInt8, UInt8) = (Self.keyUpdate, 0, 0, 1, 0)
        return withUnsafeBytes(of: message) { writing.seal($0, RecordProtection.ContentType.handshake, into: &output) }
            && writing.update()
    }

    // MARK: Input

    /// Takes ciphertext, whole records where they stand and pieces of one until it is whole; adds to `taken`. `plaintext`
    /// may send meanwhile: hence the pointer to where output goes.
    func receive(
        _ bytes: UnsafeRawBufferPointer, taken: inout Int, ends: UnsafeMutablePointer<Ends>,
        plaintext: (UnsafeRawBufferPointer) -> Bool
    ) -> Outcome {
        withUnsafeTemporaryAllocation(byteCount: RecordProtection.largestCiphertext, alignment: 16) { scratch in
            while taken < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                if partial.isEmpty, let size = Self.recordSize(rest), size <= rest.count {
                    taken += size
                    let record = UnsafeRawBufferPointer(rebasing: rest[..<size])
                    guard let end = take(record, scratch, ends, plaintext) else { continue }
                    return end
                }
                taken += collect(rest)
                guard let size = Self.recordSize(partial.bytes) else { continue }
                // A length that cannot be is not waited for.
                guard size <= RecordProtection.headerSize + RecordProtection.largestCiphertext else {
                    return .broken(reason: "ENCRYPTED_LENGTH_TOO_LONG", alert: Alert.recordOverflow)
                }
                guard partial.count == size else { continue }
                let end = take(partial.bytes, scratch, ends, plaintext)
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

    /// nil: go on.
    private func take(
        _ record: UnsafeRawBufferPointer, _ scratch: UnsafeMutableRawBufferPointer,
        _ ends: UnsafeMutablePointer<Ends>,
        _ plaintext: (UnsafeRawBufferPointer) -> Bool
    ) -> Outcome? {
        guard record.count <= RecordProtection.headerSize + RecordProtection.largestCiphertext else {
            return .broken(reason: "ENCRYPTED_LENGTH_TOO_LONG", alert: Alert.recordOverflow)
        }
        // After the handshake all records are protected, and say so.
        guard record[0] == RecordProtection.ContentType.data else {
            return .broken(reason: "UNEXPECTED_RECORD", alert: Alert.unexpectedMessage)
        }
        guard let (type, content) = reading.open(record, into: scratch) else {
            return .broken(reason: "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", alert: Alert.badRecordMAC)
        }
        guard content.count <= RecordProtection.recordSize else {
            return .broken(reason: "DATA_LENGTH_TOO_LONG", alert: Alert.recordOverflow)
        }
        switch type {
        case RecordProtection.ContentType.data:
            return content.isEmpty || plaintext(content) ? nil : .fine
        case RecordProtection.ContentType.alert: return takeAlert(content)
        case RecordProtection.ContentType.handshake: return takeHandshake(content, ends)
        default: return .broken(reason: "UNEXPECTED_MESSAGE", alert: Alert.unexpectedMessage)
        }
    }

    private func takeAlert(_ content: UnsafeRawBufferPointer) -> Outcome {
        guard content.count == 2 else { return .broken(reason: "BAD_ALERT", alert: Alert.decodeError) }
        // Both mean that nothing more comes, and nothing else does (RFC 8446 §6.1).
        if content[1] == 0 || content[1] == Alert.userCanceled { return .peerClosed }
        return .broken(reason: "TLSV1_ALERT_\(content[1])", alert: nil)
    }

    /// Of a client's messages after the handshake only KeyUpdate is allowed, in a record of its own.
    private func takeHandshake(_ content: UnsafeRawBufferPointer, _ ends: UnsafeMutablePointer<Ends>) -> Outcome? {
        guard content.count == 5, content[0] == Self.keyUpdate, content[1] == 0, content[2] == 0, content[3] == 1 else {
            return .broken(reason: "UNEXPECTED_MESSAGE", alert: Alert.unexpectedMessage)
        }
        guard content[4] <= 1 else { return .broken(reason: "BAD_KEY_UPDATE", alert: Alert.illegalParameter) }
        keyUpdates += 1
        guard keyUpdates <= Self.keyUpdatesAllowed else {
            return .broken(reason: "TOO_MANY_KEY_UPDATES", alert: Alert.unexpectedMessage)
        }
        guard reading.update(), content[4] == 0 || updateWriting(into: &ends.pointee.output) else {
            return .broken(reason: "INTERNAL_ERROR", alert: Alert.internalError)
        }
        return nil
    }

    private var keyUpdates = 0
    /// A client that changes its key more often makes work for us. BoringSSL allows 32 in a row without data.
    private static let keyUpdatesAllowed = 1024
    private static let keyUpdate: UInt8 = 24

    private enum Alert {
        static let unexpectedMessage: UInt8 = 10
        static let badRecordMAC: UInt8 = 20
        static let recordOverflow: UInt8 = 22
        static let illegalParameter: UInt8 = 47
        static let decodeError: UInt8 = 50
        static let internalError: UInt8 = 80
        static let userCanceled: UInt8 = 90
    }
}
