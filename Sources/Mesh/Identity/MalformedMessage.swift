public import Protobuf

/// Bytes that are not the message that they should be.
public struct MalformedMessage: Error, Hashable, Sendable, ProtobufFailure, CustomStringConvertible {
    public var description: String

    public init(malformed what: String) { description = "malformed \(what)" }
}

extension [UInt8] {
    func forEachField(
        _ body: (ProtobufReader<MalformedMessage>.Field) throws(MalformedMessage) -> Void
    ) throws(MalformedMessage) {
        let result = withUnsafeBytes { buffer in
            Result { () throws(MalformedMessage) in
                var reader = ProtobufReader<MalformedMessage>(buffer)
                while let field = try reader.next() { try body(field) }
            }
        }
        try result.get()
    }
}

extension ProtobufReader.Field {
    var text: String { String(decoding: bytes, as: UTF8.self) }
}
