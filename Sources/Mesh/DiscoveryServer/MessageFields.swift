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

extension ProtobufReader.Field {
    var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension GRPCEnding: ProtobufFailure {
    public init(malformed what: String) { self.init(.invalidArgument, "no discovery request: malformed \(what)") }
}
