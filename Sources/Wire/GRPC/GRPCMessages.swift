/// The messages in the body of a gRPC stream, as they become whole. A value without I/O.
public struct GRPCMessages: Sendable {
    /// What a message may have, where nobody says otherwise.
    public static let standardLimit = 64 << 20
    /// A flag and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
    public static let headerBytes = 5

    /// Bytes of a message at most; a longer one ends the stream.
    public let limit: Int
    private var bytes: [UInt8] = []
    private var start = 0

    public init(limit: Int = standardLimit) { self.limit = limit }

    /// Bytes that belong to no whole message yet, or to one that nobody has taken.
    public var waiting: Int { bytes.count - start }

    public mutating func append(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    /// The next message that is whole; nil when more has to come first.
    /// - Throws: The stream cannot go on: what came is no message, or is too long. Known from the header, before the rest comes.
    public mutating func next() throws(GRPCEnding) -> [UInt8]? {
        guard waiting >= Self.headerBytes else { return nil }
        switch bytes[start] {
        case 0: break
        // Without `grpc-accept-encoding` nobody may.
        case 1: throw GRPCEnding(.unimplemented, "the message is compressed, which was not asked for")
        default: throw GRPCEnding(.internalError, "no gRPC message: its flag is \(bytes[start])")
        }
        let length = bytes[(start + 1)..<(start + Self.headerBytes)].reduce(0) { $0 << 8 | Int($1) }
        guard length <= limit else {
            throw GRPCEnding(.resourceExhausted, "a message of \(length) bytes; at most \(limit) are taken")
        }
        guard waiting >= Self.headerBytes + length else {
            // A stream that rests holds no memory of what was taken.
            if start > 0 {
                bytes.removeFirst(start)
                start = 0
            }
            return nil
        }
        let first = start + Self.headerBytes
        let message = Array(bytes[first..<(first + length)])
        start = first + length
        if start == bytes.count {
            bytes = []
            start = 0
        }
        return message
    }

    /// A message as it goes into a body.
    public static func framed(_ message: [UInt8]) -> [UInt8] {
        var framed: [UInt8] = [0]
        framed.reserveCapacity(headerBytes + message.count)
        let length = UInt32(message.count)
        for shift: UInt32 in [24, 16, 8, 0] { framed.append(UInt8(truncatingIfNeeded: length >> shift)) }
        framed += message
        return framed
    }
}
