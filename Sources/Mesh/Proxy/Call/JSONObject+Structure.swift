import JSON
import Protobuf
import XDS

extension JSONObject {
    /// A `google.protobuf.Struct` as services send one, by way of a message that has such a field.
    init?(structure bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        guard let type = ProtoSchema.envoy.message("envoy.service.auth.v3.CheckResponse") else { return nil }
        var buffer = ReverseBuffer()
        buffer.prepend(field: 4, bytes: bytes)
        guard let object = try Message(binary: buffer.bytes, type: type).json()["dynamic_metadata"]?.object else {
            return nil
        }
        self = object
    }
}

extension ReverseBuffer {
    /// The fields of a `google.protobuf.Struct`.
    mutating func prepend(structure object: JSONObject) {
        for key in object.keys.sorted().reversed() {
            guard let value = object[key] else { continue }
            prepend(field: 1) { entry in
                entry.prepend(field: 2) { $0.prepend(structureValue: value) }
                entry.prepend(field: 1, text: key)
            }
        }
    }

    /// The content of a `google.protobuf.Value`.
    private mutating func prepend(structureValue value: JSONValue) {
        switch value {
        case .null:
            prepend(varint: 0)
            prepend(field: 1, .varint)
        case .bool(let flag):
            prepend(varint: flag ? 1 : 0)
            prepend(field: 4, .varint)
        case .string(let text): prepend(field: 3, text: text)
        case .object(let object): prepend(field: 5) { $0.prepend(structure: object) }
        case .array(let elements):
            prepend(field: 6) { list in
                for element in elements.reversed() { list.prepend(field: 1) { $0.prepend(structureValue: element) } }
            }
        default:
            prepend(fixed64: (value.double ?? 0).bitPattern)
            prepend(field: 2, .fixed64)
        }
    }
}
