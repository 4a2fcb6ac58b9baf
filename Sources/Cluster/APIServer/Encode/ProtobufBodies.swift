import ClusterAPI
import JSON

/// The protobuf codec's refusals in the API's words.
enum ProtobufBodies {
    static func encode(_ object: JSONValue, _ schema: Schema) throws(StatusError) -> [UInt8] {
        do throws(CodecError) {
            return try ProtobufCodec(schema: schema).encode(object)
        } catch {
            throw .internalError("cannot encode as protobuf: \(error)")
        }
    }

    /// A frame of a watch. An object that has no protobuf form becomes an error of its own.
    static func watchFrame(_ type: String, _ object: JSONValue, _ schema: Schema) -> [UInt8] {
        let codec = ProtobufCodec(schema: schema)
        do throws(CodecError) {
            return codec.watchFrame(type: type, encodedObject: try codec.encode(object))
        } catch {
            let status = StatusError.internalError("cannot encode as protobuf: \(error)").json
            return codec.watchFrame(type: "ERROR", encodedObject: (try? codec.encode(status)) ?? [])
        }
    }

    static func decode(
        _ bytes: [UInt8], as kind: GroupVersionKind?, _ schema: Schema
    ) throws(StatusError) -> JSONValue {
        do throws(CodecError) {
            return try ProtobufCodec(schema: schema).decode(bytes, as: kind)
        } catch {
            throw .badRequest("the body cannot be read as protobuf: \(error)")
        }
    }
}
