public import Protobuf

/// Why a value could not be encoded or decoded, or does not fit its kind.
public struct CodecError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where in the object, as `spec.containers[0].ports`; empty for the whole.
    public var path: String
    public var message: String

    public init(path: String = "", _ message: String) {
        self.path = path
        self.message = message
    }

    public var description: String { path.isEmpty ? message : "\(path): \(message)" }
}

extension CodecError: ProtobufFailure {
    public init(malformed what: String) { self.init("malformed protobuf: \(what)") }
}

typealias ProtobufReader = Protobuf.ProtobufReader<CodecError>
