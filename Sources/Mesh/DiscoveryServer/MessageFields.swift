import GRPC
import Protobuf

// The few fields of messages that the server itself looks at.

extension [UInt8] {
    func forEachField(
        _ body: (ProtobufReader<GRPCEnding>.Field) throws(GRPCEnding) -> Void
    ) throws(GRPCEnding) {
        let result = withUnsafeBytes { buffer in
            Result { () throws(GRPCEnding) in
                var reader = ProtobufReader<GRPCEnding>(buffer)
                while let field = try reader.next() { try body(field) }
            }
        }
        try result.get()
    }
}

extension [UInt8] {
    /// A protobuf field with a length.
    mutating func append(field number: UInt8, _ bytes: some Collection<UInt8>) {
        append(number << 3 | 2)
        var length = bytes.count
        while length >= 0x80 {
            append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        append(UInt8(length))
        append(contentsOf: bytes)
    }

    mutating func append(field number: UInt8, _ text: String) { append(field: number, text.utf8) }
}

extension ProtobufReader.Field {
    var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension GRPCEnding: ProtobufFailure {
    public init(malformed what: String) { self.init(.invalidArgument, "no discovery request: malformed \(what)") }
}
