import HTTP
import Protobuf
import TLS
import XDS

/// What an OpenTelemetry access log says of a stream: body and attributes, with command operators in their texts, compiled once.
struct LogRecord: Sendable {
    /// An `opentelemetry.proto.common.v1.AnyValue`.
    indirect enum Value: Sendable {
        /// Encoded as it is.
        case constant([UInt8])
        case text(Template)
        case list([Value])
        case members([(key: [UInt8], value: Value)])
    }

    var body: Value?
    var attributes: [(key: [UInt8], value: Value)]
    var tags: [CustomTag] = []

    /// Prepends a `LogRecord` field of `ScopeLogs`; fields last to first.
    func prepend(_ stream: HTTPStream, to buffer: inout ReverseBuffer) {
        let mark = buffer.count
        if let context = stream.trace?.context {
            withUnsafeBytes(of: context.span.bigEndian) { buffer.prepend(field: 10, bytes: $0) }
            let trace = buffer.count
            withUnsafeBytes(of: context.low.bigEndian) { buffer.prepend($0) }
            withUnsafeBytes(of: context.high.bigEndian) { buffer.prepend($0) }
            buffer.close(field: 9, since: trace)
        }
        for tag in tags.reversed() {
            var text = GrowingBytes()
            if tag.render(stream, into: &text) {
                tag.name.withUnsafeBytes { Span.prepend($0, text.bytes, field: 6, to: &buffer) }
            }
            text.deallocate()
        }
        for (key, value) in attributes.reversed() { Self.prepend(key, value, field: 6, stream, &buffer) }
        if let body {
            let mark = buffer.count
            Self.prepend(body, stream, &buffer)
            buffer.close(field: 5, since: mark)
        }
        let began = stream.wallClock(stream.began)
        buffer.prepend(fixed64: UInt64(bitPattern: began.seconds) &* 1_000_000_000 &+ UInt64(began.nanoseconds))
        buffer.prepend(field: 1, .fixed64)
        buffer.close(field: 2, since: mark)
    }

    /// A `KeyValue`. Without a stream what stands in texts is taken as it is.
    static func prepend(
        _ key: [UInt8], _ value: Value, field: Int, _ stream: HTTPStream?, _ buffer: inout ReverseBuffer
    ) {
        let mark = buffer.count
        prepend(value, stream, &buffer)
        buffer.close(field: 2, since: mark)
        buffer.prepend(field: 1, bytes: key)
        buffer.close(field: field, since: mark)
    }

    /// The content of an `AnyValue`.
    private static func prepend(_ value: Value, _ stream: HTTPStream?, _ buffer: inout ReverseBuffer) {
        let mark = buffer.count
        switch value {
        case .constant(let bytes): buffer.prepend(bytes)
        case .text(let template):
            var text = GrowingBytes()
            if let stream { template.render(stream, into: &text) }
            buffer.prepend(text.bytes)
            buffer.close(field: 1, since: mark)
            text.deallocate()
        case .list(let values):
            for value in values.reversed() {
                let element = buffer.count
                prepend(value, stream, &buffer)
                buffer.close(field: 1, since: element)
            }
            buffer.close(field: 5, since: mark)
        case .members(let members):
            for (key, value) in members.reversed() { prepend(key, value, field: 1, stream, &buffer) }
            buffer.close(field: 6, since: mark)
        }
    }
}

extension LogRecord {
    /// The format of an `OpenTelemetryAccessLogConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        body = try node.message("body", Value.formatted)
        attributes =
            try node.message("attributes") { (list) throws(ConfigError) in
                try Value.members(list, Value.formatted)
            } ?? []
        tags = try CustomTag.read(node, "custom_tags")
    }
}

extension LogRecord.Value {
    typealias Reader = (ConfigNode) throws(ConfigError) -> LogRecord.Value

    /// An `AnyValue` whose texts have command operators.
    static func formatted(_ node: ConfigNode) throws(ConfigError) -> LogRecord.Value {
        if let structure = try structured(node, formatted) { return structure }
        guard node.choice("value") == "string_value" else {
            throw node.error(
                "Only string values, nested key value lists and array values are supported in OpenTelemetry access "
                    + "log format.")
        }
        do throws(OperatorParser.Invalid) { return .text(try Template(node.string("string_value"))) } catch {
            throw node.error("string_value", error.description)
        }
    }

    /// An `AnyValue` as it is.
    static func fixed(_ node: ConfigNode) throws(ConfigError) -> LogRecord.Value {
        if let structure = try structured(node, fixed) { return structure }
        var buffer = ReverseBuffer(capacity: 16)
        switch node.choice("value") {
        case "string_value": buffer.prepend(field: 1, text: node.string("string_value"))
        case "bool_value":
            buffer.prepend(varint: node.bool("bool_value") ? 1 : 0)
            buffer.prepend(field: 2, .varint)
        case "int_value":
            buffer.prepend(varint: UInt64(bitPattern: node.int64("int_value")))
            buffer.prepend(field: 3, .varint)
        case "double_value":
            buffer.prepend(fixed64: node.double("double_value").bitPattern)
            buffer.prepend(field: 4, .fixed64)
        case "bytes_value":
            buffer.prepend(node.bytes("bytes_value"))
            buffer.close(field: 7, since: 0)
        default: break
        }
        return .constant(buffer.bytes)
    }

    private static func structured(_ node: ConfigNode, _ read: Reader) throws(ConfigError) -> LogRecord.Value? {
        switch node.choice("value") {
        case "array_value":
            return .list(
                try node.message("array_value") { (list) throws(ConfigError) in
                    try list.messages("values") { (value) throws(ConfigError) in try read(value) }
                } ?? [])
        case "kvlist_value":
            return .members(
                try node.message("kvlist_value") { (list) throws(ConfigError) in try members(list, read) } ?? [])
        default: return nil
        }
    }

    /// A `KeyValueList`.
    static func members(
        _ node: ConfigNode, _ read: Reader
    ) throws(ConfigError) -> [(key: [UInt8], value: LogRecord.Value)] {
        try node.messages("values") { (entry) throws(ConfigError) in
            let value = try entry.message("value") { (value) throws(ConfigError) in try read(value) }
            return (Array(entry.string("key").utf8), value ?? .constant([]))
        }
    }
}
