import Bytes
public import JSON
import Protobuf

/// Objects as the Kubernetes protobuf encoding: the magic `k8s\0`, then an `Unknown` envelope that names the kind
/// and holds the message. Driven by the schema in both directions.
public struct ProtobufCodec: Sendable {
    public static let shared = ProtobufCodec(schema: .shared)

    /// What every encoded object begins with.
    static let magic: [UInt8] = [0x6b, 0x38, 0x73, 0x00]

    let schema: Schema

    public init(schema: Schema) { self.schema = schema }

    /// Whether objects of a kind have a protobuf form; what upstream serves as custom resources has none.
    public func canEncode(_ kind: GroupVersionKind) -> Bool { protobufType(of: kind) != nil }

    private func protobufType(of kind: GroupVersionKind) -> Int? {
        schema.typeIndex(of: kind).flatMap { schema.typeCodes[$0].wireOrder.isEmpty ? nil : $0 }
    }

    /// The envelope of an object; `apiVersion` and `kind` are taken from it. Members that the schema does not know and
    /// nulls are left out.
    ///
    /// Throws for kinds that are not in the schema, and for values of another type than the schema's.
    public func encode(_ object: JSONValue) throws(CodecError) -> [UInt8] {
        let apiVersion = object["apiVersion"]?.string ?? ""
        let kind = object["kind"]?.string ?? ""
        guard let gvk = GroupVersionKind(apiVersion: apiVersion, kind: kind), let type = protobufType(of: gvk)
        else {
            throw CodecError("\(apiVersion) \(kind) has no protobuf form")
        }
        var encoder = ProtobufEncoder(schema: schema)
        try encoder.envelope(object, type: type, apiVersion: apiVersion, kind: kind)
        return encoder.bytes
    }

    /// The object in an envelope, with `apiVersion` and `kind`.
    ///
    /// - Parameter fallback: the kind of a message whose envelope names none, as options of a request may.
    public func decode(
        _ bytes: UnsafeRawBufferPointer, as fallback: GroupVersionKind? = nil
    ) throws(CodecError) -> JSONValue {
        guard bytes.starts(with: Self.magic) else {
            throw CodecError("the body does not begin with the protobuf magic of Kubernetes")
        }
        var apiVersion = ""
        var kind = ""
        var raw = UnsafeRawBufferPointer(start: nil, count: 0)
        var reader = ProtobufReader(UnsafeRawBufferPointer(rebasing: bytes[Self.magic.count...]))
        while let part = try reader.next() {
            switch (part.number, part.wire) {
            case (1, .bytes):
                var meta = ProtobufReader(part.bytes)
                while let field = try meta.next() {
                    let text = String(decoding: field.bytes, as: UTF8.self)
                    if field.number == 1 { apiVersion = text }
                    if field.number == 2 { kind = text }
                }
            case (2, .bytes): raw = part.bytes
            case (3, .bytes) where !part.bytes.isEmpty:
                throw CodecError("the content encoding of an object is not supported")
            default: break
            }
        }
        if kind.isEmpty, let fallback { (apiVersion, kind) = (fallback.apiVersion, fallback.kind) }
        guard let gvk = GroupVersionKind(apiVersion: apiVersion, kind: kind), let type = protobufType(of: gvk)
        else {
            throw CodecError("no kind \"\(kind)\" is registered for version \"\(apiVersion)\"")
        }
        var decoder = ProtobufDecoder(schema: schema)
        return try decoder.message(raw, type, apiVersion: apiVersion, kind: kind)
    }

    public func decode(_ bytes: [UInt8], as fallback: GroupVersionKind? = nil) throws(CodecError) -> JSONValue {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(CodecError) in try decode(buffer, as: fallback) }
        }
        return try result.get()
    }

    // MARK: Watch

    /// A frame of a watch: four bytes of length, then a bare `WatchEvent` (the stream has no envelope of its own) around
    /// the envelope of an object.
    public func watchFrame(type: String, encodedObject: [UInt8]) -> [UInt8] {
        var out = ReverseBuffer(capacity: encodedObject.count + 48)
        out.prepend(encodedObject)
        out.close(field: 1, since: 0)
        out.close(field: 2, since: 0)
        out.prepend(field: 1, text: type)
        let length = UInt32(clamping: out.count)
        withUnsafeBytes(of: length.bigEndian) { out.prepend($0) }
        return out.bytes
    }

    /// The type and the object of a frame without its length.
    public func decodeWatchEvent(_ frame: UnsafeRawBufferPointer) throws(CodecError) -> (
        type: String, object: JSONValue
    ) {
        var type = ""
        var object = UnsafeRawBufferPointer(start: nil, count: 0)
        var reader = ProtobufReader(frame)
        while let part = try reader.next() {
            switch part.number {
            case 1: type = String(decoding: part.bytes, as: UTF8.self)
            case 2:
                var inner = ProtobufReader(part.bytes)
                while let field = try inner.next() { if field.number == 1 { object = field.bytes } }
            default: break
            }
        }
        return (type, try decode(object))
    }
}
