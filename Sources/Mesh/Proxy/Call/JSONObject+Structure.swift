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
