import JSON

/// Writes an OpenAPI v2 document, given as JSON, as the protobuf messages of package `openapi.v2`, which is the only
/// form that kubectl before 1.27 asks for.
///
/// The messages are tables of what a key becomes: the field numbers are public facts, the shapes follow from how those
/// messages wrap maps (as lists of named values) and choices (as a message a choice).
struct GnosticEncoder {
    /// How a JSON value under a known key is written.
    indirect enum Shape: Sendable {
        case string
        case bool
        case strings
        case message(Message)
        case messages(Message)
        /// A map as a message that holds a list of named values in field `field`.
        case named(field: UInt32, Shape)
        /// The value one level deeper, in field `field` of a message that stands for a choice.
        case wrapped(field: UInt32, Shape)
    }

    enum Message: Sendable { case document, info, pathItem, operation, parameter, query, path, body, response, schema }

    private(set) var bytes: [UInt8] = []

    /// Writes the fields of one message.
    mutating func write(_ value: JSONValue, as message: Message) {
        if case .parameter = message { return parameter(value) }
        for (key, value) in value.object ?? [:] {
            if let (number, shape) = Self.field(key, of: message) {
                write(value, as: shape, number)
            } else if key.hasPrefix("x-"), let number = Self.extensionField(of: message) {
                write(extension: key, value, number)
            }
        }
    }

    /// Opens field `number`, lets `body` write its contents, and closes it with its length.
    mutating func nested(_ number: UInt32, _ body: (inout GnosticEncoder) -> Void) {
        var inner = GnosticEncoder()
        body(&inner)
        append(tag: number, inner.bytes)
    }

    mutating func write(_ value: JSONValue, as shape: Shape, _ number: UInt32) {
        switch shape {
        case .string: append(tag: number, Array((value.string ?? "").utf8))
        case .bool:
            varint(number << 3)
            bytes.append(value == .bool(true) ? 1 : 0)
        case .strings:
            for element in value.array ?? [value] { append(tag: number, Array((element.string ?? "").utf8)) }
        case .message(let message): nested(number) { $0.write(value, as: message) }
        case .messages(let message):
            for element in value.array ?? [] { nested(number) { $0.write(element, as: message) } }
        case .named(let field, let shape):
            nested(number) { map in
                for (key, value) in value.object ?? [:] { map.named(key, value, as: shape, field) }
            }
        case .wrapped(let field, let shape): nested(number) { $0.write(value, as: shape, field) }
        }
    }

    /// One entry of a map: name and value.
    mutating func named(_ key: String, _ value: JSONValue, as shape: Shape, _ number: UInt32) {
        nested(number) { entry in
            entry.append(tag: 1, Array(key.utf8))
            entry.write(value, as: shape, 2)
        }
    }

    /// Vendor extensions travel as YAML text; JSON is YAML.
    private mutating func write(extension key: String, _ value: JSONValue, _ number: UInt32) {
        nested(number) { entry in
            entry.append(tag: 1, Array(key.utf8))
            entry.nested(2) { $0.append(tag: 2, value.encoded()) }
        }
    }

    private mutating func append(tag number: UInt32, _ contents: [UInt8]) {
        varint(number << 3 | 2)
        varint(UInt32(contents.count))
        bytes += contents
    }

    private mutating func varint(_ value: UInt32) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7f) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    private static func extensionField(of message: Message) -> UInt32? {
        switch message {
        case .document: 16
        case .info: 7
        case .pathItem: 10
        case .operation: 13
        case .response: 5
        case .schema: 31
        case .parameter, .query, .path, .body: nil
        }
    }

    private static func field(_ key: String, of message: Message) -> (UInt32, Shape)? {
        switch message {
        case .document: document[key]
        case .info: info[key]
        case .pathItem: pathItem[key]
        case .operation: operation[key]
        case .parameter: nil
        case .query: query[key]
        case .path: path[key]
        case .body: body[key]
        case .response: response[key]
        case .schema: schema[key]
        }
    }

    private static let document: [String: (UInt32, Shape)] = ["swagger": (1, .string), "info": (2, .message(.info))]
    private static let info: [String: (UInt32, Shape)] = ["title": (1, .string), "version": (2, .string)]
    private static let pathItem: [String: (UInt32, Shape)] = [
        "get": (2, .message(.operation)), "put": (3, .message(.operation)), "post": (4, .message(.operation)),
        "delete": (5, .message(.operation)), "patch": (8, .message(.operation)),
        "parameters": (9, .messages(.parameter)),
    ]
    private static let operation: [String: (UInt32, Shape)] = [
        "operationId": (5, .string), "produces": (6, .strings), "consumes": (7, .strings),
        "parameters": (8, .messages(.parameter)),
        "responses": (9, .named(field: 1, .wrapped(field: 1, .message(.response)))),
    ]
    private static let query: [String: (UInt32, Shape)] = [
        "required": (1, .bool), "in": (2, .string), "name": (4, .string), "type": (6, .string),
        "uniqueItems": (20, .bool),
    ]
    private static let path: [String: (UInt32, Shape)] = [
        "required": (1, .bool), "in": (2, .string), "name": (4, .string), "type": (5, .string),
        "uniqueItems": (19, .bool),
    ]
    private static let body: [String: (UInt32, Shape)] = [
        "name": (2, .string), "in": (3, .string), "required": (4, .bool), "schema": (5, .message(.schema)),
    ]
    private static let response: [String: (UInt32, Shape)] = [
        "description": (1, .string), "schema": (2, .wrapped(field: 1, .message(.schema))),
    ]
    private static let schema: [String: (UInt32, Shape)] = [
        "$ref": (1, .string), "format": (2, .string), "description": (4, .string), "required": (19, .strings),
        "additionalProperties": (21, .wrapped(field: 1, .message(.schema))), "type": (22, .wrapped(field: 1, .strings)),
        "items": (23, .wrapped(field: 1, .message(.schema))), "properties": (25, .named(field: 1, .message(.schema))),
    ]
}

extension GnosticEncoder {
    /// A parameter is a choice of two, and one that is not a body again of four.
    private mutating func parameter(_ value: JSONValue) {
        nested(1) { parameter in
            switch value["in"]?.string {
            case "body": parameter.nested(1) { $0.write(value, as: .body) }
            case "path": parameter.nested(2) { other in other.nested(4) { $0.write(value, as: .path) } }
            default: parameter.nested(2) { other in other.nested(3) { $0.write(value, as: .query) } }
            }
        }
    }
}
