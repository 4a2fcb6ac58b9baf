import JSON
import Protobuf
import XDS

extension AuthzVerdict {
    private typealias Reader = ProtobufReader<ConfigError>

    /// An `envoy.service.auth.v3.CheckResponse`. Field numbers are those of `external_auth.proto`.
    init(checkResponse bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        var code: UInt64 = 0
        self.init(.ok)
        var isFailure = false
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1:
                var status = Reader(field.bytes)
                while let field = try status.next() { if field.number == 1 { code = field.scalar } }
            case 2, 5:
                if field.number == 5 { isFailure = true }
                try readDenied(field.bytes)
            case 3: try readOK(field.bytes)
            case 4: metadata = try JSONObject(structure: field.bytes)
            default: break
            }
        }
        kind = isFailure ? .failed : code == 0 ? .ok : .denied
        if kind != .ok {
            removed = []
            responseHeaders = []
        }
    }

    private mutating func readDenied(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1:
                var found = Reader(field.bytes)
                while let field = try found.next() {
                    if field.number == 1, (200..<600).contains(field.scalar) { status = Int(field.scalar) }
                }
            case 2:
                // What it says of a field is there, as often as it says it, and nothing else.
                guard var change = try Self.change(field.bytes, isResponse: false) else { continue }
                if change.action == .set { change.action = .add }
                headers.append(change)
            case 3: body = Array(field.bytes)
            default: break
            }
        }
    }

    private mutating func readOK(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) {
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 2: if let change = try Self.change(field.bytes, isResponse: false) { headers.append(change) }
            case 3: if metadata == nil { metadata = try JSONObject(structure: field.bytes) }
            case 5: removed.append(HeaderKey(String(decoding: field.bytes, as: UTF8.self)))
            case 6: if let change = try Self.change(field.bytes, isResponse: true) { responseHeaders.append(change) }
            case 7:
                let (name, value) = try Self.pair(field.bytes)
                setParameters.append((name, value))
            case 8: removedParameters.append(Array(field.bytes))
            default: break
            }
        }
    }

    /// Fields 1 and 2 of a message, 3 in place of 2 where it is there.
    private static func pair(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) -> ([UInt8], [UInt8]) {
        var (name, value): ([UInt8], [UInt8]) = ([], [])
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1: name = Array(field.bytes)
            case 2, 3: value = Array(field.bytes)
            default: break
            }
        }
        return (name, value)
    }

    /// A `core.v3.HeaderValueOption`. Here, other than elsewhere, a field replaces those of its name unless `append` is said;
    /// `append_action` counts for fields of the response.
    private static func change(_ bytes: UnsafeRawBufferPointer, isResponse: Bool) throws(ConfigError) -> Change? {
        var (name, value): ([UInt8], [UInt8]) = ([], [])
        var append: Bool?
        var action: UInt64 = 0
        var fields = Reader(bytes)
        while let field = try fields.next() {
            switch field.number {
            case 1: (name, value) = try pair(field.bytes)
            case 2:
                append = false
                var wrapper = Reader(field.bytes)
                while let field = try wrapper.next() { if field.number == 1 { append = field.scalar != 0 } }
            case 3: action = field.scalar
            default: break
            }
        }
        guard !name.isEmpty else { return nil }
        let key = HeaderKey(String(decoding: name, as: UTF8.self))
        guard isResponse else { return Change(key: key, value: value, action: append == true ? .appendToValue : .set) }
        if let append { return Change(key: key, value: value, action: append ? .add : .set) }
        let actions: [Change.Action] = [.add, .addIfAbsent, .set, .setIfPresent]
        return Change(key: key, value: value, action: action < 4 ? actions[Int(action)] : .add)
    }
}
