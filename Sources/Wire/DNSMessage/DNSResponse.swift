import Bytes

/// What a forwarder reads of an upstream's answer, in place.
public struct DNSResponse: Sendable {
    public var id: UInt16
    public var code: ResponseCode
    public var isTruncated: Bool
    /// Question's name with its final zero, from octet 12; 0 when there is no question.
    public var nameLength: Int
    public var type: RecordType
    public var answerCount: Int
    /// The least TTL of all records but OPT, in seconds; nil without records.
    public var leastTTL: UInt32?
    /// Where TTLs stand, so that a cached answer can be aged.
    public var ttlOffsets: [Int]
    /// TTL for the absence of an answer (RFC 2308): the lesser of the SOA's own TTL and its minimum field.
    public var negativeTTL: UInt32?

    /// Records read at most; an answer with more is not taken.
    public static let recordLimit = 4096

    /// - Returns: nil when the message is not a well-formed answer.
    public init?(_ message: UnsafeRawBufferPointer) {
        var cursor = ByteCursor(message)
        guard let id = cursor.readUInt16(), let flags = cursor.readUInt16(), let questions = cursor.readUInt16(),
            let answers = cursor.readUInt16(), let authorities = cursor.readUInt16(),
            let additionals = cursor.readUInt16(), flags & 0x8000 != 0, questions <= 1
        else { return nil }
        self.id = id
        isTruncated = flags & 0x0200 != 0
        nameLength = 0
        type = RecordType(rawValue: 0)
        if questions == 1 {
            guard skipName(&cursor) else { return nil }
            nameLength = cursor.position - DNSQuery.headerSize
            guard let type = cursor.readUInt16(), cursor.readUInt16() != nil else { return nil }
            self.type = RecordType(rawValue: type)
        }
        answerCount = Int(answers)
        ttlOffsets = []
        var extendedCode: UInt16 = 0
        let total = Int(answers) + Int(authorities) + Int(additionals)
        guard total <= Self.recordLimit else { return nil }
        for index in 0..<total {
            guard let record = RecordHeader(&cursor) else { return nil }
            if record.type == .opt {
                extendedCode = UInt16(record.ttl >> 24)
                continue
            }
            ttlOffsets.append(record.ttlOffset)
            leastTTL = min(leastTTL ?? record.ttl, record.ttl)
            if record.type == .soa, index >= Int(answers), record.data.count >= 4 {
                let minimum = message[(record.data.upperBound - 4)..<record.data.upperBound]
                    .reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                negativeTTL = min(record.ttl, minimum)
            }
        }
        code = ResponseCode(rawValue: extendedCode << 4 | flags & 15)
    }
}
