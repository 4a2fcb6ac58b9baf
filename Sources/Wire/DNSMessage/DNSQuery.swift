import Bytes

/// What a server needs of a query, found in place: offsets into the message that it was read from.
public struct DNSQuery: Sendable {
    public var id: UInt16
    public var opcode: UInt8
    public var isRecursionDesired: Bool
    public var isCheckingDisabled: Bool
    /// Where the question's name begins (always 12) and how long it is with its final zero.
    public var nameLength: Int
    public var type: RecordType
    public var `class`: UInt16
    /// Set when the query has an OPT record (RFC 6891).
    public var extended: Extended?

    public struct Extended: Sendable {
        public var version: UInt8
        /// The largest UDP payload that the client takes, at least 512.
        public var payloadSize: Int
        public var wantsDNSSEC: Bool
    }

    /// Octets of a message's header.
    public static let headerSize = 12

    /// Octets of header and question together: the first part of every answer.
    public var questionEnd: Int { Self.headerSize + nameLength + 4 }

    /// Why a message is no query that can be answered.
    public enum Failure: Error, Sendable {
        /// Too short to have an id, or not a query: silence is the only answer.
        case drop
        /// FORMERR to this id.
        case malformed(id: UInt16)
        /// NOTIMP to this id and opcode.
        case unsupported(id: UInt16, opcode: UInt8)
    }

    public init(_ message: UnsafeRawBufferPointer) throws(Failure) {
        guard message.count >= Self.headerSize else { throw .drop }
        var cursor = ByteCursor(message)
        guard let id = cursor.readUInt16(), let flags = cursor.readUInt16(), let questions = cursor.readUInt16(),
            let answers = cursor.readUInt16(), let authorities = cursor.readUInt16(),
            let additionals = cursor.readUInt16()
        else { throw .drop }
        // An answer is never answered: two servers would talk for ever.
        guard flags & 0x8000 == 0 else { throw .drop }
        opcode = UInt8(flags >> 11 & 15)
        guard opcode == 0 else { throw .unsupported(id: id, opcode: opcode) }
        guard questions == 1 else { throw .malformed(id: id) }
        self.id = id
        isRecursionDesired = flags & 0x0100 != 0
        isCheckingDisabled = flags & 0x0010 != 0

        var length = 0
        while true {
            guard let label = cursor.readUInt8() else { throw .malformed(id: id) }
            length += 1 + Int(label)
            // A question's name is the first of its message: there is nothing that a pointer could point to.
            guard label <= DNSName.labelLimit, length <= DNSName.lengthLimit, cursor.skip(Int(label)) else {
                throw .malformed(id: id)
            }
            if label == 0 { break }
        }
        nameLength = length
        guard let type = cursor.readUInt16(), let klass = cursor.readUInt16() else { throw .malformed(id: id) }
        self.type = RecordType(rawValue: type)
        self.class = klass

        let records = Int(answers) + Int(authorities) + Int(additionals)
        for index in 0..<records {
            guard let record = RecordHeader(&cursor) else { throw .malformed(id: id) }
            guard record.type == .opt else { continue }
            // One OPT, in the additional section, owned by the root.
            guard extended == nil, index >= Int(answers) + Int(authorities), record.isRootOwned else {
                throw .malformed(id: id)
            }
            extended = Extended(
                version: UInt8(record.ttl >> 16 & 0xFF), payloadSize: max(512, Int(record.class)),
                wantsDNSSEC: record.ttl & 0x8000 != 0)
        }
    }

    /// The question's name, lower case, in `message`, which must be the one that this was read from.
    public func name(in message: UnsafeRawBufferPointer) -> DNSName? {
        DNSName(wire: message[Self.headerSize..<Self.headerSize + nameLength])
    }
}

/// The fixed part of a resource record, its name and data skipped.
public struct RecordHeader: Sendable {
    public var isRootOwned: Bool
    public var type: RecordType
    public var `class`: UInt16
    public var ttl: UInt32
    /// Where the TTL's four octets stand in the message.
    public var ttlOffset: Int
    public var data: Range<Int>

    /// Reads one record and moves past it.
    ///
    /// - Returns: nil when the message ends within it or its name is malformed.
    public init?(_ cursor: inout ByteCursor) {
        isRootOwned = cursor.peekUInt8() == 0
        guard skipName(&cursor), let type = cursor.readUInt16(), let klass = cursor.readUInt16() else { return nil }
        self.type = RecordType(rawValue: type)
        self.class = klass
        ttlOffset = cursor.position
        guard let ttl = cursor.readUInt32(), let length = cursor.readUInt16() else { return nil }
        self.ttl = ttl
        data = cursor.position..<cursor.position + Int(length)
        guard cursor.skip(Int(length)) else { return nil }
    }
}

/// Moves past a name that may end in a compression pointer; pointers are not followed.
func skipName(_ cursor: inout ByteCursor) -> Bool {
    var total = 0
    while let length = cursor.readUInt8() {
        switch length {
        case 0: return true
        case 0xC0...0xFF: return cursor.skip(1)
        case 1...UInt8(DNSName.labelLimit):
            total += Int(length) + 1
            guard total < DNSName.lengthLimit, cursor.skip(Int(length)) else { return false }
        default: return false
        }
    }
    return false
}
