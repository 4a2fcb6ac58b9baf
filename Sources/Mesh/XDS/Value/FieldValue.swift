import Bytes
import JSON

/// What stands in a field.
///
/// Messages that mean one plain value are that value: wrappers their scalar, durations and timestamps a time, free
/// structures JSON. That they are there at all says that they are not absent.
enum FieldValue: Hashable, Sendable {
    case bool(Bool)
    /// Signed numbers of any width, and enums.
    case int(Int64)
    case uint(UInt64)
    /// Floats of either width.
    case double(Double)
    case string(String)
    case bytes([UInt8])
    case duration(Duration)
    case timestamp(Timestamp)
    /// `Struct`, `Value` and `ListValue`.
    case json(JSONValue)
    case any(PackedMessage)
    case message(Message)
    case list([FieldValue])
    /// In the order of the keys, each once.
    case map([MapEntry])
}

struct MapEntry: Hashable, Sendable {
    /// A string, an integer or a bool.
    var key: FieldValue
    var value: FieldValue
}

extension FieldValue {
    /// Zero, false or empty: what a field without presence does not tell from absent.
    var isZero: Bool {
        switch self {
        case .bool(let value): !value
        case .int(let value): value == 0
        case .uint(let value): value == 0
        // Minus zero is written.
        case .double(let value): value.bitPattern == 0
        case .string(let value): value.isEmpty
        case .bytes(let value): value.isEmpty
        case .list(let value): value.isEmpty
        case .map(let value): value.isEmpty
        case .duration, .timestamp, .json, .any, .message: false
        }
    }

    /// The order of keys in maps.
    static func precedes(_ a: FieldValue, _ b: FieldValue) -> Bool {
        switch (a, b) {
        case (.string(let a), .string(let b)): a.utf8.lexicographicallyPrecedes(b.utf8)
        case (.int(let a), .int(let b)): a < b
        case (.uint(let a), .uint(let b)): a < b
        case (.bool(let a), .bool(let b)): !a && b
        default: false
        }
    }
}

extension [MapEntry] {
    /// Sorts by key; of equal keys the last one stays, as the wire has it.
    mutating func normalize() {
        if zip(self, dropFirst()).allSatisfy({ FieldValue.precedes($0.key, $1.key) }) { return }
        var latest: [FieldValue: Int] = [:]
        for (position, entry) in enumerated() { latest[entry.key] = position }
        if latest.count < count {
            var position = -1
            removeAll { entry in
                position += 1
                return latest[entry.key] != position
            }
        }
        sort { FieldValue.precedes($0.key, $1.key) }
    }
}
