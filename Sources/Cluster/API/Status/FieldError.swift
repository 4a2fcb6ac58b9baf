import JSON

/// One thing that is wrong with one field; a 422 `Status` carries one cause for each.
public struct FieldError: Hashable, Sendable, CustomStringConvertible {
    /// What is wrong. The raw value is the reason of the cause that clients see.
    public enum Kind: String, Hashable, Sendable {
        case notFound = "FieldValueNotFound"
        case required = "FieldValueRequired"
        case duplicate = "FieldValueDuplicate"
        case invalid = "FieldValueInvalid"
        case notSupported = "FieldValueNotSupported"
        case forbidden = "FieldValueForbidden"
        case tooLong = "FieldValueTooLong"
        case tooMany = "FieldValueTooMany"
        case `internal` = "InternalError"
        case typeInvalid = "FieldValueTypeInvalid"

        /// The words that open the message.
        var words: String {
            switch self {
            case .notFound: "Not found"
            case .required: "Required value"
            case .duplicate: "Duplicate value"
            case .invalid, .typeInvalid: "Invalid value"
            case .notSupported: "Unsupported value"
            case .forbidden: "Forbidden"
            case .tooLong: "Too long"
            case .tooMany: "Too many"
            case .internal: "Internal error"
            }
        }

        /// Whether the message repeats the offending value.
        var showsValue: Bool {
            switch self {
            case .notFound, .duplicate, .invalid, .typeInvalid, .notSupported, .tooMany: true
            case .required, .forbidden, .tooLong, .internal: false
            }
        }
    }

    public var kind: Kind
    public var path: FieldPath
    /// The offending value; shown only for the kinds that show it.
    public var value: JSONValue
    public var detail: String

    public init(_ kind: Kind, _ path: FieldPath, value: JSONValue = .null, detail: String = "") {
        self.kind = kind
        self.path = path
        self.value = value
        self.detail = detail
    }

    public static func required(_ path: FieldPath, _ detail: String = "") -> Self {
        Self(.required, path, detail: detail)
    }

    public static func invalid(_ path: FieldPath, _ value: JSONValue, _ detail: String) -> Self {
        Self(.invalid, path, value: value, detail: detail)
    }

    public static func duplicate(_ path: FieldPath, _ value: JSONValue) -> Self {
        Self(.duplicate, path, value: value)
    }

    public static func notFound(_ path: FieldPath, _ value: JSONValue) -> Self {
        Self(.notFound, path, value: value)
    }

    public static func forbidden(_ path: FieldPath, _ detail: String) -> Self {
        Self(.forbidden, path, detail: detail)
    }

    /// `supported` is shown sorted, as clients have learnt to parse it.
    public static func notSupported(_ path: FieldPath, _ value: JSONValue, supported: [String]) -> Self {
        let list = supported.sorted().map(quoted).joined(separator: ", ")
        return Self(.notSupported, path, value: value, detail: list.isEmpty ? "" : "supported values: \(list)")
    }

    public static func tooLong(_ path: FieldPath, limit: Int) -> Self {
        Self(.tooLong, path, detail: "may not be more than \(limit) bytes")
    }

    public static func tooMany(_ path: FieldPath, count: Int, limit: Int) -> Self {
        Self(.tooMany, path, value: .int(Int64(count)), detail: "must have at most \(limit) items")
    }

    /// The message without the field: `Invalid value: "x": must be lower case`.
    public var body: String {
        var text = kind.words
        if kind.showsValue {
            if case .string(let string) = value {
                text += ": " + quoted(string)
            } else {
                text += ": " + value.encodedString()
            }
        }
        return detail.isEmpty ? text : text + ": " + detail
    }

    /// The whole message: `spec.selector: Required value`.
    public var description: String { "\(path): \(body)" }
}

/// `text` in double quotes with quotes, backslashes and control characters escaped, as Go's `%q` does for plain text.
func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case _ where scalar.value < 0x20 || scalar.value == 0x7f:
            let hex = String(scalar.value, radix: 16)
            result += "\\x" + (hex.count == 1 ? "0" : "") + hex
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
