import Bytes

/// Resource records that are encoded already, to be copied into answers as they are.
///
/// Owners are the compression pointer to the question's name, or full names; nothing points elsewhere, so the bytes are right
/// in every message whose question they answer.
public struct EncodedRecords: Hashable, Sendable {
    public var bytes: [UInt8]
    public var count: Int
    /// When all records have this size, they may be rotated; 0 otherwise.
    public var stride: Int

    public static let none = EncodedRecords()

    public init() {
        bytes = []
        count = 0
        stride = 0
    }

    public var isEmpty: Bool { count == 0 }

    /// The owner that stands for the question's name.
    static let questionPointer: [UInt8] = [0xC0, 0x0C]

    /// Adds a record.
    ///
    /// - Parameters:
    ///   - owner: nil is the question's name.
    ///   - ttl: seconds.
    public mutating func append(_ type: RecordType, ttl: UInt32, owner: DNSName? = nil, data: [UInt8]) {
        let start = bytes.count
        var writer = ByteWriter()
        writer.append(owner?.wire ?? Self.questionPointer)
        writer.append(type.rawValue)
        writer.append(internetClass)
        writer.append(ttl)
        writer.append(UInt16(truncatingIfNeeded: data.count))
        writer.append(data)
        bytes += writer.bytes
        let size = bytes.count - start
        stride = count == 0 || stride == size ? size : 0
        count += 1
    }

    public mutating func append(_ other: EncodedRecords) {
        stride = isEmpty ? other.stride : (stride == other.stride ? stride : 0)
        bytes += other.bytes
        count += other.count
    }

    /// An A or AAAA record.
    public mutating func append(_ address: IPAddress, ttl: UInt32, owner: DNSName? = nil) {
        append(address.family == .v4 ? .a : .aaaa, ttl: ttl, owner: owner, data: address.bytes)
    }

    /// - Parameter target: not compressed (RFC 2782).
    public mutating func append(service target: DNSName, port: UInt16, weight: UInt16, ttl: UInt32) {
        var writer = ByteWriter()
        writer.append(UInt16(0))
        writer.append(weight)
        writer.append(port)
        writer.append(target.wire)
        append(.srv, ttl: ttl, data: writer.bytes)
    }

    /// A zone's start of authority, owned by the zone.
    public mutating func append(authority zone: DNSName, serial: UInt32, ttl: UInt32, minimum: UInt32) {
        var writer = ByteWriter()
        writer.append((zone.prefixed(by: "ns", "dns") ?? zone).wire)
        writer.append((zone.prefixed(by: "hostmaster") ?? zone).wire)
        for value in [serial, 7200, 1800, 86400, minimum] { writer.append(value) }
        append(.soa, ttl: ttl, owner: zone, data: writer.bytes)
    }
}

/// Builds the answer to one query into a buffer that is used again and again.
public struct DNSAnswerWriter {
    public private(set) var bytes: [UInt8] = []

    /// The UDP payload that is offered to clients, and never exceeded towards them (flag day 2020).
    public static let payloadSize = 1232

    public init() { bytes.reserveCapacity(4096) }

    public struct Content: Sendable {
        public var code = ResponseCode.noError
        public var isAuthoritative = true
        public var isRecursionAvailable = false
        public var answers = EncodedRecords.none
        public var authorities = EncodedRecords.none
        public var additionals = EncodedRecords.none
        /// Records to rotate the answers by, so that clients who take the first one spread.
        public var rotation = 0

        public init(code: ResponseCode = .noError) { self.code = code }
    }

    /// Writes a whole answer; `bytes` hold it afterwards.
    ///
    /// - Parameters:
    ///   - message: the query, whose question is copied with the case that it has.
    ///   - limit: bytes at most; above it whole sections are left out, the last first, and TC is set unless only additional
    ///     records were lost (RFC 2181 §9).
    /// - Returns: whether it was truncated.
    @discardableResult
    public mutating func write(
        _ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ content: Content, limit: Int
    ) -> Bool {
        bytes.removeAll(keepingCapacity: true)
        let optionSize = query.extended == nil ? 0 : 11
        let room = limit - query.questionEnd - optionSize
        var (answers, authorities, additionals) = (content.answers, content.authorities, content.additionals)
        var isTruncated = false
        if answers.bytes.count + authorities.bytes.count + additionals.bytes.count > room {
            additionals = .none
            if answers.bytes.count + authorities.bytes.count > room {
                authorities = .none
                isTruncated = true
                if answers.bytes.count > room { answers = answers.prefix(fitting: room) }
            }
        }
        var flags: UInt16 = 0x8000 | UInt16(query.opcode) << 11 | content.code.rawValue & 15
        if content.isAuthoritative { flags |= 0x0400 }
        if isTruncated { flags |= 0x0200 }
        if query.isRecursionDesired { flags |= 0x0100 }
        if content.isRecursionAvailable { flags |= 0x0080 }
        if query.isCheckingDisabled { flags |= 0x0010 }
        append(query.id)
        append(flags)
        append(1)
        append(UInt16(truncatingIfNeeded: answers.count))
        append(UInt16(truncatingIfNeeded: authorities.count))
        append(UInt16(truncatingIfNeeded: additionals.count + (query.extended == nil ? 0 : 1)))
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: message[DNSQuery.headerSize..<query.questionEnd]))
        append(answers, rotatedBy: content.rotation)
        bytes.append(contentsOf: authorities.bytes)
        bytes.append(contentsOf: additionals.bytes)
        if let extended = query.extended {
            appendOption(code: content.code, wantsDNSSEC: extended.wantsDNSSEC)
        }
        return isTruncated
    }

    /// An answer without a question, for queries whose question could not be read.
    public mutating func writeBare(id: UInt16, opcode: UInt8, code: ResponseCode) {
        bytes.removeAll(keepingCapacity: true)
        append(id)
        append(0x8000 | UInt16(opcode) << 11 | code.rawValue & 15)
        for _ in 0..<4 { append(0) }
    }

    private mutating func append(_ value: UInt16) {
        bytes.append(UInt8(value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    private mutating func append(_ records: EncodedRecords, rotatedBy rotation: Int) {
        guard records.count > 1, records.stride > 0 else { return bytes.append(contentsOf: records.bytes) }
        let cut = rotation % records.count * records.stride
        bytes.append(contentsOf: records.bytes[cut...])
        bytes.append(contentsOf: records.bytes[..<cut])
    }

    /// RFC 6891 §6.1.2: root owner, our payload size as class, extended code, version 0 and DO in the TTL.
    private mutating func appendOption(code: ResponseCode, wantsDNSSEC: Bool) {
        bytes.append(0)
        append(RecordType.opt.rawValue)
        append(UInt16(Self.payloadSize))
        append((code.rawValue >> 4) << 8)
        append(wantsDNSSEC ? 0x8000 : 0)
        append(0)
    }
}

extension EncodedRecords {
    /// The first whole records that fit.
    func prefix(fitting room: Int) -> EncodedRecords {
        var result = EncodedRecords()
        bytes.withUnsafeBytes { buffer in
            var cursor = ByteCursor(buffer)
            while let _ = RecordHeader(&cursor), cursor.position <= room {
                result.count += 1
                result.bytes = Array(buffer[..<cursor.position])
            }
        }
        return result
    }
}
