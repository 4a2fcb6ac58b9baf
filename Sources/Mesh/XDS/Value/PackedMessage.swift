/// A message whose type is said beside it: `google.protobuf.Any`.
///
/// From the wire it stays bytes until somebody asks, because most of a big resource is asked for once or never; from
/// JSON it is a message at once, because its text cannot be read without its type.
///
/// Two are equal when their bytes are, however they came.
struct PackedMessage: Sendable {
    /// As it came: `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
    let typeURL: String
    let contents: Contents

    enum Contents: Sendable {
        case bytes([UInt8])
        // The array keeps the value finite in size.
        indirect case message(Message)
    }

    init(typeURL: String, _ contents: Contents) {
        self.typeURL = typeURL
        self.contents = contents
    }

    var isEmpty: Bool {
        switch contents {
        case .bytes(let bytes): bytes.isEmpty
        case .message(let message): message.isEmpty
        }
    }

    /// What is behind the last slash.
    static func typeName(ofURL url: String) -> String? {
        guard let slash = url.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return String(url[url.index(after: slash)...])
    }

    /// The message within.
    func message(schema: ProtoSchema, path: @autoclosure () -> ConfigPath) throws(ConfigError) -> Message {
        switch contents {
        case .message(let message): return message
        case .bytes(let bytes):
            guard let name = Self.typeName(ofURL: typeURL), let type = schema.message(name) else {
                throw ConfigError(path(), "unknown type \"\(typeURL)\"")
            }
            return try Message(binary: bytes, type: type, at: path())
        }
    }
}

extension PackedMessage: Hashable {
    static func == (a: PackedMessage, b: PackedMessage) -> Bool { a.typeURL == b.typeURL && a.binary() == b.binary() }

    func hash(into hasher: inout Hasher) {
        hasher.combine(typeURL)
        hasher.combine(binary())
    }
}
